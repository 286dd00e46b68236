"""Filters of a room: its search box, and drop-downs whose first choice, an empty value, filters nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import gradio as gr

from wan_pipeline.ui.common.events import Updates, Values


def search_box(label: str, placeholder: str = "") -> gr.Textbox:
    """Its label is read aloud; the placeholder, for which a long label is too wide, is what is seen."""
    return gr.Textbox(
        label=label,
        placeholder=placeholder or label,
        show_label=False,
        max_lines=1,
        elem_classes="search",
        min_width=120,
    )


def filter_box(label: str, everything: str, choices: Sequence[tuple[str, str]] = ()) -> gr.Dropdown:
    """`everything` is the first choice's text. Without other choices it is hidden until `offer` has some."""
    return gr.Dropdown(
        [(everything, ""), *choices],
        value="",
        label=label,
        show_label=False,
        visible=bool(choices),
        min_width=120,
        elem_classes="filter",
    )


def offer(found: Mapping[gr.Dropdown, Sequence[tuple[str, str]]], values: Values) -> tuple[Updates, Values]:
    """Offer what there is to filter by now, as (label, value); and the values to search with.

    A filter is hidden where there is nothing to choose. One whose choice is gone filters nothing: else Gradio would
    refuse its value in every event of the room.
    """
    updates: Updates = {}
    kept = dict(values)
    for box, choices in found.items():
        is_there = (values[box] or "") in {"", *(value for _, value in choices)}
        kept[box] = values[box] if is_there else ""
        gone = {} if is_there else {"value": ""}
        updates[box] = gr.Dropdown(choices=[box.choices[0], *choices], visible=bool(choices), **gone)
    return updates, kept
