"""Components of the Shots room."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import gradio as gr
from gradio.blocks import Block

from wan_pipeline.projects.shots.shot import Shot, ShotStatus
from wan_pipeline.requests.lists.files import ENDINGS
from wan_pipeline.ui.common.clock import room_clock
from wan_pipeline.ui.common.events import FORWARD_CLICKS
from wan_pipeline.ui.common.filters import filter_box, search_box
from wan_pipeline.ui.common.layout import Layout
from wan_pipeline.ui.common.shown import shown_box

POLL_SECONDS = 2.0
ON_LOAD = Path(__file__).parent / "on_load"


@dataclass(frozen=True)
class Selection:
    """What a browser tab has open."""

    offset: int = 0
    """Index of the first shot on the page."""
    chosen: tuple[str, ...] = ()
    """Ids of the takes that the bar is for."""
    is_table: bool = False
    """Whether shots are the lines of a table, and not rows of the board with all their takes."""

    def within(self, shots: Iterable[Shot]) -> Selection:
        """Without chosen takes that are not of these shots, or are gone."""
        takes = {take.id for shot in shots for take in shot.done}
        return replace(self, chosen=tuple(each for each in self.chosen if each in takes))


class ShotsLayout(Layout):
    """Filters, what is done to all shots, the board, and what opens over it."""

    def __init__(self) -> None:
        with gr.Row(elem_classes="filters"):
            self.text = search_box("Search shots")
            status = [(each.capitalize(), each.value) for each in ShotStatus]
            self.status = filter_box("Status", "Any status", status)
            self.scene = filter_box("Scenes", "All scenes")
            self.upload = gr.UploadButton(
                "Add a shot list", file_types=list(ENDINGS), elem_id="shots-upload", elem_classes="quiet", min_width=0
            )
        self.pictures = gr.UploadButton(
            "Add pictures", file_count="multiple", file_types=["image"], elem_id="character-pictures", visible="hidden"
        )
        """Pressed by a button of the dialog of a character."""
        self.character = gr.State("")
        """Name of the character whose dialog is open."""
        self.head = _clickable("shots-head")
        self.board = _clickable("shots-board", "board.js")
        self.bar = _clickable("shots-bar")
        self.over = _clickable("shots-over")
        self.toast = gr.HTML("", elem_classes="toast-slot", js_on_load=FORWARD_CLICKS)
        self.clock = room_clock(POLL_SECONDS)
        self.selection = gr.State(Selection())
        self.shown = shown_box()

    @property
    def clickable(self) -> tuple[gr.HTML, ...]:
        """What has buttons."""
        return self.head, self.board, self.bar, self.over, self.toast

    @property
    def inputs(self) -> set[Block]:
        return {self.text, self.status, self.scene, self.selection, self.shown}


def _clickable(elem_id: str, script: str = "") -> gr.HTML:
    own = (ON_LOAD / script).read_text(encoding="utf-8") if script else ""
    return gr.HTML("", elem_id=elem_id, js_on_load=FORWARD_CLICKS + own)
