"""Components of the Queue room."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import gradio as gr
from gradio.components import Component

from wan_pipeline.models.spec import Mode
from wan_pipeline.requests.lists.files import ENDINGS
from wan_pipeline.requests.presets import Preset
from wan_pipeline.ui.common.clock import room_clock
from wan_pipeline.ui.common.events import FORWARD_CLICKS
from wan_pipeline.ui.common.layout import Layout
from wan_pipeline.ui.common.names import MODE_TITLES, look_choices
from wan_pipeline.ui.common.profiles import profile_radio
from wan_pipeline.ui.common.shown import shown_box
from wan_pipeline.ui.common.templates import Templates
from wan_pipeline.ui.queue import html
from wan_pipeline.ui.queue.shelves import Selection

POLL_SECONDS = 1.0
DRAG_ROWS = Path(__file__).parent / "on_load" / "drag.js"
PLACEHOLDER = "A red ball bounces over green hills\nA white boat moves right on the sea\n…"


class QueueLayout(Layout):
    """The list of jobs, and what is being made now."""

    def __init__(self, presets: Mapping[str, Preset], templates: Templates) -> None:
        # What changes every second is kept apart from buttons: one that is replaced while it is pressed does nothing.
        with gr.Row(elem_classes="queue-head"):
            self.head = gr.HTML("", elem_classes="queue-words")
            self.actions = _clickable(elem_classes="queue-acts")
        with gr.Row(elem_classes="now-row"):
            self.now = gr.HTML("", elem_classes="now-slot")
            self.now_actions = _clickable(elem_classes="now-acts")
        with gr.Row(elem_classes="now-row"):
            self.training = gr.HTML("", elem_classes="now-slot")
            self.training_actions = _clickable(elem_classes="now-acts")
        self.add_many = AddManyLayout(presets, templates)
        self.shelves = _clickable(elem_id="queue-shelves")
        self.bar = _clickable(elem_id="queue-bar")
        self.rows = _clickable(DRAG_ROWS.read_text(encoding="utf-8"), elem_id="queue-rows")
        self.dialog = _clickable(elem_id="queue-over")
        self.toast = _clickable(elem_classes="toast-slot")
        self.clock = room_clock(POLL_SECONDS)
        self.selection = gr.State(Selection())
        self.shown = shown_box()

    @property
    def clickable(self) -> tuple[gr.HTML, ...]:
        """What has buttons."""
        on_top = self.actions, self.now_actions, self.training_actions
        return *on_top, self.shelves, self.bar, self.rows, self.dialog, self.toast


class AddManyLayout(Layout):
    """The panel that adds many clips: prompts x styles x seeds, or the rows of a file."""

    def __init__(self, presets: Mapping[str, Preset], templates: Templates) -> None:
        with gr.Accordion("Add many clips", open=False, elem_id="add-many"), gr.Row(elem_classes="many"):
            with gr.Column(elem_classes="many-words", min_width=0):
                self._prompts_and_button()
            with gr.Column(elem_classes="many-settings", min_width=0):
                self._settings(presets)
            with gr.Column(elem_classes="many-file", min_width=0):
                self._file(templates)

    @property
    def inputs(self) -> tuple[Component, ...]:
        """What, with a form of Create, makes the clips."""
        return self.prompts, self.seeds, self.presets, self.profile, self.mode

    def _prompts_and_button(self) -> None:
        self.prompts = gr.Textbox(label="Prompts, one per line", lines=7, max_lines=14, placeholder=PLACEHOLDER)
        with gr.Row(elem_classes="generate-row"):
            self.estimate = gr.HTML("", elem_classes="estimate-slot")
            self.add = gr.Button("Add to the queue", variant="primary", elem_classes="add-button")

    def _settings(self, presets: Mapping[str, Preset]) -> None:
        self.presets = gr.CheckboxGroup(look_choices(presets), label="Each in these styles", elem_classes="pills")
        with gr.Row(elem_classes="duo"):
            self.seeds = gr.Textbox(label="With each of these seeds", placeholder="random, or 1-4, 9", max_lines=1)
        self.profile = profile_radio()
        self.mode = gr.Radio(
            [(MODE_TITLES[mode], mode.value) for mode in Mode],
            value=Mode.TEXT_TO_VIDEO.value,
            label="All other settings as under Create, in",
            elem_classes="pills",
        )

    def _file(self, templates: Templates) -> None:
        gr.HTML(html.file_help(templates))
        self.upload = gr.UploadButton(
            "Choose or drop a file",
            file_types=list(ENDINGS),
            elem_id="queue-upload",
            elem_classes=["quiet"],
        )
        gr.HTML(html.csv_template(templates), elem_classes="template")
        self.report = gr.HTML("", elem_classes="report")
        self.add_file = gr.Button("Add", variant="primary", visible=False)
        self.file = gr.State("")
        """Path of the uploaded file that `report` is about; empty if it has no clips."""


def _clickable(script: str = "", *, elem_id: str | None = None, elem_classes: str | None = None) -> gr.HTML:
    return gr.HTML("", elem_id=elem_id, elem_classes=elem_classes, js_on_load=FORWARD_CLICKS + script)
