"""The gallery's components: search and filters above, the grid, and what opens over it. Layout only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr

from wan_pipeline.clips.gallery import Facets, GalleryQuery
from wan_pipeline.ui.cards import Names

POLL_SECONDS = 1.0
FORWARD = """
const tell = (source, act, text) => {
  const clip = source.closest('[data-clip]')?.dataset.clip ?? '';
  if (!source.disabled) trigger('click', {act, clip, text});
};
element.addEventListener('click', event => {
  const button = event.target.closest('[data-act]');
  if (button) tell(button, button.dataset.act, button.dataset.ids ?? '');
});
element.addEventListener('change', event => {
  const box = event.target.closest('[data-change]');
  if (box) tell(box, box.dataset.change, box.value);
});
"""
"""One event for all that can be clicked or typed in a piece of HTML: `act`, `clip` and `text` say what."""


@dataclass(frozen=True)
class GalleryTab:
    """`look` holds what this browser tab has before it: the offset, the picked clips, the open one and its neighbours.

    `report` tells how it goes with the open one.
    """

    text: gr.Textbox
    project: gr.Dropdown
    model: gr.Dropdown
    preset: gr.Dropdown
    lora: gr.Dropdown
    starred: gr.Checkbox
    binned: gr.Checkbox
    empty_bin: gr.Button
    count: gr.HTML
    grid: gr.HTML
    picks: gr.HTML
    over: gr.HTML
    report: gr.HTML
    toast: gr.HTML
    timer: gr.Timer
    look: gr.State

    @property
    def filters(self) -> list[gr.components.Component]:
        return [self.text, self.project, self.model, self.preset, self.lora, self.starred, self.binned]

    @property
    def inputs(self) -> set[gr.components.Component]:
        return {*self.filters, self.look}

    @property
    def outputs(self) -> list[gr.components.Component]:
        seen = [self.count, self.grid, self.picks, self.over, self.report, self.toast]
        return [*self.filters, self.empty_bin, *seen, self.timer, self.look]

    def query(self, given: Mapping[Any, Any]) -> GalleryQuery:
        return GalleryQuery(
            text=given[self.text] or "",
            project=given[self.project] or "",
            model=given[self.model] or "",
            preset=given[self.preset] or "",
            lora=given[self.lora] or "",
            starred=bool(given[self.starred]),
            binned=bool(given[self.binned]),
        )

    def offer(self, facets: Facets, names: Names) -> dict[Any, Any]:
        """What there is to filter by, now. A filter with nothing to choose from is left out."""
        offered = {
            self.project: [(name, name) for name in facets.projects],
            self.model: [(names.models.get(name, name), name) for name in facets.models],
            self.preset: [(names.presets.get(name, name), name) for name in facets.presets],
            self.lora: [(name, name) for name in facets.loras],
        }
        return {
            box: gr.Dropdown(choices=[(_all(str(box.label)), ""), *choices], visible=bool(choices))
            for box, choices in offered.items()
        }


def build_gallery() -> GalleryTab:
    with gr.Row(elem_classes="filters"):
        text = gr.Textbox(
            placeholder="Search prompts and notes", show_label=False, max_lines=1, elem_classes="search", min_width=120
        )
        boxes = {name: _filter(name) for name in ("Projects", "Models", "Styles", "LoRAs")}
        starred = gr.Checkbox(label="Starred", elem_classes="toggle star", container=False, min_width=0)
        binned = gr.Checkbox(label="Bin", elem_classes="toggle bin", container=False, min_width=0)
        empty_bin = gr.Button(
            "Empty the bin", visible=False, elem_id="empty-bin", elem_classes=["quiet", "bad"], min_width=0
        )
        count = gr.HTML("", elem_classes="count-slot")
    grid = gr.HTML("", elem_id="grid", js_on_load=FORWARD)
    picks = gr.HTML("", elem_id="picks", js_on_load=FORWARD)
    over = gr.HTML("", elem_id="over", js_on_load=FORWARD)
    report = gr.HTML("", elem_id="report")  # apart from the clip: that one plays on while this changes
    toast = gr.HTML("", elem_id="toast", js_on_load=FORWARD)
    timer = gr.Timer(POLL_SECONDS, active=False)
    look = gr.State({"offset": 0, "picked": [], "open": "", "ids": []})
    return GalleryTab(
        text=text,
        project=boxes["Projects"],
        model=boxes["Models"],
        preset=boxes["Styles"],
        lora=boxes["LoRAs"],
        starred=starred,
        binned=binned,
        empty_bin=empty_bin,
        count=count,
        grid=grid,
        picks=picks,
        over=over,
        report=report,
        toast=toast,
        timer=timer,
        look=look,
    )


def _filter(name: str) -> gr.Dropdown:
    return gr.Dropdown(
        [(_all(name), "")],
        value="",
        label=name,
        show_label=False,
        visible=False,
        min_width=120,
        elem_classes="filter",
    )


def _all(name: str) -> str:
    return f"All {name[:1].lower()}{name[1:]}" if name[1:].islower() else f"All {name}"
