"""The Models room's components: what there is, how to add more, and what is asked before it is done. Layout only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from wan_pipeline.ui.gallery_tab import FORWARD

POLL_SECONDS = 1.0


@dataclass(frozen=True)
class ModelsTab:
    """`look` is what this browser tab asks about; `shown` is how its cards stand. `pulse` and `answer` are for scripts:
    how the transfers go, and what was found out about a model that is asked about.
    """

    head: gr.HTML
    adding: gr.Row
    repository: gr.Textbox
    add: gr.Button
    grid: gr.HTML
    over: gr.HTML
    toast: gr.HTML
    answer: gr.Textbox
    pulse: gr.Textbox
    timer: gr.Timer
    look: gr.State
    shown: gr.State

    @property
    def outputs(self) -> list[Any]:
        seen = [self.head, self.adding, self.repository, self.grid, self.over, self.toast]
        return [*seen, self.pulse, self.timer, self.look, self.shown]


def build_models() -> ModelsTab:
    with gr.Row(elem_classes="queue-head"):
        head = gr.HTML("", elem_classes="queue-words")
        with gr.Row(visible=False, elem_id="add-model") as adding:
            repository = gr.Textbox(
                placeholder="owner/name", show_label=False, label="Repository", max_lines=1, min_width=120, scale=1
            )
            add = gr.Button("Add a repository", elem_classes="quiet", min_width=0, scale=0)
    grid = gr.HTML("", elem_id="model-grid", js_on_load=FORWARD)
    over = gr.HTML("", elem_id="model-over", js_on_load=FORWARD)
    toast = gr.HTML("", elem_classes="toast-slot", js_on_load=FORWARD)
    return ModelsTab(
        head=head,
        adding=adding,
        repository=repository,
        add=add,
        grid=grid,
        over=over,
        toast=toast,
        answer=gr.Textbox(visible="hidden", container=False),
        pulse=gr.Textbox(visible="hidden", container=False),
        timer=gr.Timer(POLL_SECONDS, active=False),
        look=gr.State({"ask": "", "is_new": False}),
        shown=gr.State({}),
    )
