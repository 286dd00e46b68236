"""The queue's components: what is to do, how to add many at once, and the list. Layout only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import gradio as gr

from wan_pipeline.models.spec import Mode
from wan_pipeline.requests.list_file import CSV_TEMPLATE
from wan_pipeline.requests.presets import Preset
from wan_pipeline.ui.examples import ASSETS
from wan_pipeline.ui.gallery_tab import FORWARD
from wan_pipeline.ui.generate_tab import TITLES, project_box

POLL_SECONDS = 1.0
HOW_TO = (
    '<p class="hint">A list from a spreadsheet or a script, or a queue that was exported: CSV, JSONL or ZIP. '
    "Columns are named as the command line's options.</p>"
)


@dataclass(frozen=True)
class AddMany:
    """The panel that makes many clips of a few words, or of a file. `chosen` is the file that was looked at."""

    prompts: gr.Textbox
    seeds: gr.Textbox
    presets: gr.CheckboxGroup
    base: gr.Radio
    project: gr.Dropdown
    forecast: gr.HTML
    add: gr.Button
    upload: gr.UploadButton
    report: gr.HTML
    add_file: gr.Button
    chosen: gr.State

    @property
    def inputs(self) -> list[gr.components.Component]:
        return [self.prompts, self.seeds, self.presets, self.base, self.project]


@dataclass(frozen=True)
class QueueTab:
    """`look` is what this browser tab has before it: the shelf and the offset; `shown` is what it shows already."""

    head: gr.HTML
    acts: gr.HTML
    now: gr.HTML
    now_acts: gr.HTML
    many: AddMany
    shelves: gr.HTML
    rows: gr.HTML
    over: gr.HTML
    toast: gr.HTML
    badge: gr.Textbox
    timer: gr.Timer
    look: gr.State
    shown: gr.State

    @property
    def outputs(self) -> list[Any]:
        return [
            *(self.head, self.acts, self.now, self.now_acts, self.shelves, self.rows, self.over, self.toast),
            *(self.badge, self.timer, self.look, self.shown),
        ]


def build_queue(presets: dict[str, Preset]) -> QueueTab:
    # What changes every second is apart from what is clicked: a button that is replaced under the pointer is dead.
    with gr.Row(elem_classes="queue-head"):
        head = gr.HTML("", elem_classes="queue-words")
        acts = gr.HTML("", elem_classes="queue-acts", js_on_load=FORWARD)
    with gr.Row(elem_classes="now-row"):
        now = gr.HTML("", elem_classes="now-slot")
        now_acts = gr.HTML("", elem_classes="now-acts", js_on_load=FORWARD)
    many = _add_many(presets)
    shelves = gr.HTML("", elem_id="queue-shelves", js_on_load=FORWARD)
    drag = (ASSETS / "drag.js").read_text(encoding="utf-8")
    rows = gr.HTML("", elem_id="queue-rows", js_on_load=FORWARD + drag)
    over = gr.HTML("", elem_id="queue-over", js_on_load=FORWARD)
    toast = gr.HTML("", elem_classes="toast-slot", js_on_load=FORWARD)
    badge = gr.Textbox(visible="hidden", container=False)
    timer = gr.Timer(POLL_SECONDS, active=False)
    look = gr.State({"shelf": "next", "offset": 0})
    return QueueTab(
        head=head,
        acts=acts,
        now=now,
        now_acts=now_acts,
        many=many,
        shelves=shelves,
        rows=rows,
        over=over,
        toast=toast,
        badge=badge,
        timer=timer,
        look=look,
        shown=gr.State({}),
    )


def _template_link() -> str:
    """A CSV file to fill in. It comes with the page."""
    link = f"data:text/csv;charset=utf-8,{quote(CSV_TEMPLATE)}"
    return f'<a href="{link}" download="wan-studio-queue.csv">Download a template</a>'


def _add_many(presets: dict[str, Preset]) -> AddMany:
    with gr.Accordion("Add many clips", open=False, elem_id="add-many"), gr.Row(elem_classes="many"):
        with gr.Column(elem_classes="many-words", min_width=0):
            prompts = gr.Textbox(
                label="Prompts, one a line",
                lines=7,
                max_lines=14,
                placeholder="A red ball bounces over green hills\nA white boat moves right on the sea\n…",
            )
            with gr.Row(elem_classes="generate-row"):
                forecast = gr.HTML("", elem_classes="estimate-slot")
                add = gr.Button("Add to the queue", variant="primary", elem_classes="add-button")
        with gr.Column(elem_classes="many-settings", min_width=0):
            titles = [(preset.title, preset.id) for preset in presets.values()]
            chosen = gr.CheckboxGroup(titles, label="Each in these styles", elem_classes="pills")
            with gr.Row(elem_classes="duo"):
                seeds = gr.Textbox(label="With each of these seeds", placeholder="random, or 1-4, 9", max_lines=1)
                project = project_box()
            base = gr.Radio(
                [(TITLES[mode], mode.value) for mode in Mode],
                value=Mode.TEXT_TO_VIDEO.value,
                label="All else as it stands under Create, in",
                elem_classes="pills",
            )
        with gr.Column(elem_classes="many-file", min_width=0):
            gr.HTML(HOW_TO)
            upload = gr.UploadButton(
                "Choose or drop a file",
                file_types=[".csv", ".jsonl", ".zip"],
                elem_id="queue-upload",
                elem_classes=["quiet"],
            )
            gr.HTML(_template_link(), elem_classes="template")
            report = gr.HTML("", elem_classes="report")
            add_file = gr.Button("Add", variant="primary", visible=False)
    return AddMany(
        prompts=prompts,
        seeds=seeds,
        presets=chosen,
        base=base,
        project=project,
        forecast=forecast,
        add=add,
        upload=upload,
        report=report,
        add_file=add_file,
        chosen=gr.State(""),
    )
