"""The components of the Models room."""

from __future__ import annotations

import gradio as gr

from wan_pipeline.ui.common.clock import room_clock
from wan_pipeline.ui.common.events import FORWARD_CLICKS
from wan_pipeline.ui.common.layout import Layout
from wan_pipeline.ui.common.shown import shown_box

POLL_SECONDS = 1.0


class ModelsLayout(Layout):
    """Heading and the box for a repository on top, the cards below, a dialog over them."""

    def __init__(self) -> None:
        with gr.Row(elem_classes="queue-head"):
            self.head = gr.HTML("", elem_classes="queue-words")
            with gr.Row(elem_id="add-model"):
                self.repository = gr.Textbox(
                    placeholder="owner/name", show_label=False, label="Repository", max_lines=1, min_width=120, scale=1
                )
                self.add = gr.Button("Add a repository", elem_classes="quiet", min_width=0, scale=0)
        self.grid = gr.HTML("", elem_id="model-grid", js_on_load=FORWARD_CLICKS)
        self.dialog = gr.HTML("", elem_id="model-over", js_on_load=FORWARD_CLICKS)
        self.toast = gr.HTML("", elem_classes="toast-slot", js_on_load=FORWARD_CLICKS)
        # For models.js: HTML for the open dialog, and how far the transfers are, as JSON.
        self.answer = gr.Textbox(visible="hidden", container=False)
        self.progress = gr.Textbox(visible="hidden", container=False)
        self.clock = room_clock(POLL_SECONDS)
        # Of this browser tab: the open `Question`, and the states of the transfers that its cards show.
        self.question = gr.State(None)
        self.shown = shown_box()
