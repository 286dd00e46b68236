"""How a picture of another shape is fitted to the clip: cropped, and where, or with bars."""

from __future__ import annotations

from typing import Any

import gradio as gr

from wan_pipeline.models.spec import ModelSpec
from wan_pipeline.requests.inputs.image_fit import MIDDLE, ImageFit
from wan_pipeline.requests.request import Draft
from wan_pipeline.ui.create.fields.field import Choices, Field, FieldValues, parse_number

FITS = {ImageFit.CROP: "Crop", ImageFit.PAD: "Fit with black bars"}


def _fit(choices: Choices) -> gr.Radio:
    offered = [(title, fit.value) for fit, title in FITS.items()]
    return gr.Radio(offered, value=ImageFit.CROP.value, label="The picture has another shape", elem_classes="pills")


def _crop(choices: Choices) -> gr.Textbox:
    """Written by crop.js, which draws the frame over the picture."""
    return gr.Textbox(f"{MIDDLE:g}", label="Crop", visible="hidden", container=False)


def _read_fit(values: FieldValues, spec: ModelSpec) -> dict[str, Any]:
    fit = values.get("image_fit")
    return {"image_fit": None if fit == ImageFit.CROP else fit}


def _read_crop(values: FieldValues, spec: ModelSpec) -> dict[str, Any]:
    position = parse_number("image_crop", "Crop", values.get("image_crop"), float)
    return {"image_crop": None if position == MIDDLE else position}


def _show_crop(draft: Draft, spec: ModelSpec) -> str:
    return f"{MIDDLE if draft.image_crop is None else draft.image_crop:.10g}"


FRAMING_FIELDS: dict[str, Field] = {
    "image_fit": Field(
        _fit,
        _read_fit,
        lambda draft, spec: draft.image_fit or ImageFit.CROP.value,
        is_timed=False,
    ),
    "image_crop": Field(_crop, _read_crop, _show_crop, is_timed=False),
}
