"""The size of the clip: that of the image, one of the model's, or a custom one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import gradio as gr

from wan_pipeline.errors import RequestError
from wan_pipeline.models.spec import Mode, ModelSpec, Size
from wan_pipeline.requests.request import Draft
from wan_pipeline.ui.create.fields.field import Choices, Field, FieldValues, number, parse_number

MATCH_IMAGE, CUSTOM = "match", "custom"
"""Values of the size field beside those of `size_value`."""


def size_value(size: Size) -> str:
    return f"{size.width}x{size.height}"


def size_choices(spec: ModelSpec, mode: Mode) -> list[tuple[str, str]]:
    """(label, value) of each size button, the default first."""
    match_image = [("As image", MATCH_IMAGE)] if mode is Mode.IMAGE_TO_VIDEO else []
    sizes = [(f"{size.width} × {size.height}", size_value(size)) for size in spec.sizes]
    return [*match_image, *sizes, ("Custom", CUSTOM)]


def _build(choices: Choices) -> gr.Radio:
    options = size_choices(choices.spec, choices.mode)
    return gr.Radio(options, value=options[0][1], label="Size", elem_classes="size-cards")


def _read(values: FieldValues, spec: ModelSpec) -> dict[str, Any]:
    choice = values["size"]
    if choice in (None, MATCH_IMAGE):
        return {}
    if choice == CUSTOM:
        return {side: _read_side(side, values[side]) for side in ("width", "height")}
    width, height = choice.split("x")
    return {"width": int(width), "height": int(height)}


def _read_side(side: str, text: str) -> int | float:
    value = parse_number(side, side.capitalize(), text, int)
    if value is None:
        raise RequestError(side, f"The custom size has no {side}; enter one or choose another size.")
    return value


def _show(draft: Draft, spec: ModelSpec) -> str:
    if draft.width is None or draft.height is None:
        return MATCH_IMAGE
    size = Size(draft.width, draft.height)
    return size_value(size) if size in spec.sizes else CUSTOM


SIZE_FIELDS: dict[str, Field] = {
    "size": Field(_build, _read, _show),
    "width": replace(number("width", "Width", int), read=lambda values, spec: {}),
    "height": replace(number("height", "Height", int), read=lambda values, spec: {}),
}
"""`size` reads the other two: they count only for a custom size."""
