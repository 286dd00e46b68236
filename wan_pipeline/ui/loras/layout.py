"""The components of the LoRAs room."""

from __future__ import annotations

import gradio as gr
from gradio.blocks import Block

from wan_pipeline.lora.library import SUFFIX
from wan_pipeline.ui.common.clock import room_clock
from wan_pipeline.ui.common.events import FORWARD_CLICKS, Updates, Values
from wan_pipeline.ui.common.filters import filter_box, offer, search_box
from wan_pipeline.ui.common.layout import Layout
from wan_pipeline.ui.common.shown import shown_box
from wan_pipeline.ui.loras.shelf import PAGE_SIZE, Query

LOOK_SECONDS = 2.0
"""How often the folders are looked at while the room is open."""


class LorasLayout(Layout):
    """Heading and the box for a file on top, search and filters, the cards below."""

    def __init__(self) -> None:
        with gr.Row(elem_classes="queue-head"):
            self.head = gr.HTML("", elem_classes="queue-words")
            self.upload = gr.UploadButton(
                "Add a file", file_types=[SUFFIX], elem_id="lora-upload", elem_classes="quiet", min_width=0, scale=0
            )
        with gr.Row(elem_classes="filters", elem_id="lora-filters"):
            self.text = search_box(
                "Search names, trigger words, base models and notes", "Search names, words, bases and notes"
            )
            self.folder = filter_box("Folder", "All folders")
            self.fits = gr.Checkbox(label="Fits the model", elem_classes="toggle", container=False, min_width=0)
        self.grid = gr.HTML("", elem_id="lora-grid", js_on_load=FORWARD_CLICKS)
        self.toast = gr.HTML("", elem_classes="toast-slot", js_on_load=FORWARD_CLICKS)
        self.clock = room_clock(LOOK_SECONDS)
        # Of this browser tab: how many cards it shows at most, and what they say.
        self.limit = gr.State(PAGE_SIZE)
        self.shown = shown_box()

    @property
    def inputs(self) -> set[Block]:
        return {self.text, self.folder, self.fits, self.limit, self.shown}

    def query(self, values: Values) -> Query:
        """What the filters ask for."""
        return Query(values[self.text] or "", values[self.folder] or "", bool(values[self.fits]), values[self.limit])

    def offer(self, folders: tuple[str, ...], values: Values) -> Updates:
        """Offer the folders there are now. See `common.filters.offer`."""
        return offer({self.folder: [(folder, folder) for folder in folders]}, values)[0]
