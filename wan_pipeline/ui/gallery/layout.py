"""Components of the Gallery."""

from __future__ import annotations

from dataclasses import dataclass

import gradio as gr
from gradio.blocks import Block
from gradio.components import Component

from wan_pipeline.clips.gallery import Facets, GalleryQuery
from wan_pipeline.clips.sound.listen import ENDINGS
from wan_pipeline.ui.common.clock import room_clock, work_clock
from wan_pipeline.ui.common.events import FORWARD_CLICKS, Updates, Values
from wan_pipeline.ui.common.filters import filter_box, offer, search_box
from wan_pipeline.ui.common.layout import Layout
from wan_pipeline.ui.common.names import Names

POLL_SECONDS, IDLE_POLL_SECONDS = 1.0, 5.0
GOES_ON = "#report :is(.spinner, .progress)"
"""A verification, an export or other work on the open clip."""
LOOK_SECONDS = 2.0
"""How often an open gallery looks for clips that have come."""


@dataclass(frozen=True)
class Selection:
    """What a browser tab has selected."""

    offset: int = 0
    """Index of the first clip on the page."""
    picked: tuple[str, ...] = ()
    """Ids of the chosen clips, in the order in which they were chosen."""
    open: str = ""
    """Id of the clip whose sheet is open; empty for none."""
    follows_export: bool = False
    """Whether the open clip's export ran when its sheet was opened, or was begun there. An older one's file, shown
    again, would be downloaded again.
    """
    follows_work: bool = False
    """The same for the work on its sound or its frames."""
    ids: tuple[str, ...] = ()
    """Ids of the clips on this page, in order."""
    until: int | None = None
    """The grid's newest clip: later ones are announced, and shown on demand. None for a grid that is drawn anew."""


class GalleryLayout(Layout):
    """Search and filters, the grid, and what opens over it."""

    def __init__(self) -> None:
        with gr.Row(elem_classes="filters"):
            self.text = search_box("Search prompts and notes")
            self.project = filter_box("Projects", "All projects")
            self.model = filter_box("Models", "All models")
            self.preset = filter_box("Styles", "All styles")
            self.lora = filter_box("LoRAs", "All LoRAs")
            self.starred = gr.Checkbox(label="Starred", elem_classes="toggle star", container=False, min_width=0)
            self.binned = gr.Checkbox(label="Bin", elem_classes="toggle bin", container=False, min_width=0)
            self.empty_bin = gr.Button(
                "Empty the bin", visible=False, elem_id="empty-bin", elem_classes=["quiet", "bad"], min_width=0
            )
            self.count = gr.HTML("", elem_classes="count-slot")
        self.arrivals = _clickable("arrivals")
        self.grid = _clickable("grid")
        self.picks = _clickable("picks")
        self.over = _clickable("over")
        # Not within `over`: the clip there plays on while these change. A place each, so that none hides another.
        with gr.Column(elem_id="report"):
            self.problem = gr.HTML("")
            self.shared = gr.HTML("")
            self.report = gr.HTML("", elem_id="verification")
            self.exported = gr.HTML("", elem_id="exported")
            self.worked = _clickable("worked")
        # The boxes of the sheet's forms give their files to these, which upload them: see files.js.
        self.sound_file, self.voice_file = _sound_upload("sound-upload"), _sound_upload("voice-upload")
        self.toast = _clickable("toast")
        self.work_clock = work_clock(POLL_SECONDS, GOES_ON, IDLE_POLL_SECONDS)
        """Ticks quickly while the open clip is being verified, exported or worked on."""
        self.clock = room_clock(LOOK_SECONDS)
        self.selection = gr.State(Selection())

    @property
    def clickable(self) -> tuple[gr.HTML, ...]:
        """What has buttons."""
        return self.arrivals, self.grid, self.picks, self.over, self.worked, self.toast

    @property
    def filters(self) -> tuple[Component, ...]:
        return self.text, self.project, self.model, self.preset, self.lora, self.starred, self.binned

    @property
    def inputs(self) -> set[Block]:
        return {*self.filters, self.selection, self.sound_file, self.voice_file}

    def query(self, values: Values) -> GalleryQuery:
        """What the filters ask for."""
        return GalleryQuery(
            text=values[self.text] or "",
            project=values[self.project] or "",
            model=values[self.model] or "",
            preset=values[self.preset] or "",
            lora=values[self.lora] or "",
            starred=bool(values[self.starred]),
            binned=bool(values[self.binned]),
        )

    def offer(self, facets: Facets, names: Names, values: Values, project: str) -> tuple[Updates, Values]:
        """See `common.filters.offer`. The open project is offered before it has clips."""
        projects = dict.fromkeys((*facets.projects, *([project] if project else [])))
        found = {
            self.project: [(name, name) for name in projects],
            self.model: [(names.model(model), model) for model in facets.models],
            self.preset: [(names.preset(preset), preset) for preset in facets.presets],
            self.lora: [(name, name) for name in facets.loras],
        }
        return offer(found, values)


def _sound_upload(elem_id: str) -> gr.UploadButton:
    with gr.Column(elem_id=elem_id):  # by which files.js finds the input in it
        return gr.UploadButton("Sound file", file_types=list(ENDINGS))


def _clickable(elem_id: str) -> gr.HTML:
    return gr.HTML("", elem_id=elem_id, js_on_load=FORWARD_CLICKS)
