"""Components of the Cut room."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import gradio as gr
from gradio.blocks import Block

from wan_pipeline.projects.cut.cut import MAIN
from wan_pipeline.projects.cut.timeline.incoming import Incoming
from wan_pipeline.ui.common.clock import room_clock
from wan_pipeline.ui.common.events import FORWARD_CLICKS
from wan_pipeline.ui.common.layout import Layout
from wan_pipeline.ui.common.shown import shown_box
from wan_pipeline.ui.common.templates import Templates
from wan_pipeline.ui.cut.history import History

POLL_SECONDS = 2.0
ON_LOAD = Path(__file__).parent / "on_load"
TIMELINES = [".otio", ".edl", ".xml"]
SOURCES = [("Picked takes", "picked"), ("All takes", "takes"), ("Gallery", "gallery")]
"""What clips are offered: (label, value)."""


@dataclass(frozen=True)
class Selection:
    """What a browser tab has open."""

    project: str = ""
    cut: str = MAIN
    item: int | None = None
    """Place of the selected item, from 0."""
    history: History = field(default_factory=History)
    incoming: Incoming | None = None
    """A timeline that was read and is not yet taken over."""
    is_exporting: bool = False
    """Whether this tab asked for an export, whose end it is to show."""


class CutLayout(Layout):
    """The cut's name and what is done to all of it; the viewer; the timeline; the selected item; clips to add."""

    def __init__(self, templates: Templates) -> None:
        self.head = _clickable("cut-head")
        with gr.Row(elem_classes="cut-middle"):
            with gr.Column(scale=3, min_width=280):
                gr.HTML(templates.render("cut/viewer.html"), elem_id="cut-viewer")
            with gr.Column(scale=2, min_width=280):
                self.inspector = _clickable("cut-inspector")
        self.timeline = _clickable("cut-timeline", "timeline.js")
        self.exported = _clickable("cut-exported")
        with gr.Row(elem_classes="filters cut-sources"):
            self.source = gr.Radio(
                SOURCES, value="picked", label="Clips to add", show_label=False, elem_classes="pills"
            )
            self.upload = gr.UploadButton(
                "Import a timeline", file_types=TIMELINES, elem_id="cut-upload", elem_classes="quiet", min_width=0
            )
        self.bin = _clickable("cut-bin")
        self.over = _clickable("cut-over")
        self.toast = gr.HTML("", elem_classes="toast-slot", js_on_load=FORWARD_CLICKS)
        self.clock = room_clock(POLL_SECONDS)
        self.selection = gr.State(Selection())
        self.shown = shown_box()

    @property
    def clickable(self) -> tuple[gr.HTML, ...]:
        """What has buttons."""
        return self.head, self.inspector, self.timeline, self.exported, self.bin, self.over, self.toast

    @property
    def inputs(self) -> set[Block]:
        return {self.source, self.selection, self.shown}


def _clickable(elem_id: str, script: str = "") -> gr.HTML:
    own = (ON_LOAD / script).read_text(encoding="utf-8") if script else ""
    return gr.HTML("", elem_id=elem_id, js_on_load=FORWARD_CLICKS + own)
