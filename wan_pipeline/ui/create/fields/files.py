"""The fields that hold files: the first and the last frame, and what controls a clip of a VACE model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.components import Component

from wan_pipeline.models.spec import LastImage, ModelSpec
from wan_pipeline.requests.request import Draft
from wan_pipeline.ui.create.fields.field import Choices, Field, FieldValues, only_if
from wan_pipeline.ui.create.fields.uploads import file_upload, gallery_upload, image_upload, video_upload


def takes_last_image(spec: ModelSpec) -> bool:
    return spec.last_image is not LastImage.NO


def takes_control(spec: ModelSpec) -> bool:
    return spec.takes_control


def _first_frame(choices: Choices) -> gr.Image:
    path = str(choices.image) if choices.image else None
    return image_upload(path, label="First frame", height=230, elem_classes="first-frame")


def _last_frame(choices: Choices) -> gr.Image:
    return image_upload(None, label="Last frame", height=150, elem_classes="first-frame")


def _control_video(choices: Choices) -> gr.Video:
    return video_upload(label="Control video", height=150, elem_classes=["first-frame", "takes-video"])


def _control_mask(choices: Choices) -> gr.File:
    return file_upload(label="Control mask (picture or video)", height=150, elem_classes=["first-frame", "takes-video"])


def _reference_images(choices: Choices) -> gr.Gallery:
    classes = ["first-frame", "references"]
    return gallery_upload(label="Reference images", columns=4, height=132, object_fit="contain", elem_classes=classes)


def _read_references(values: FieldValues, spec: ModelSpec) -> dict[str, Any]:
    return {"reference_images": tuple(Path(path) for path in values.get("reference_images") or ())}


def _show_references(draft: Draft, spec: ModelSpec) -> list[str]:
    return [str(path) for path in draft.reference_images]


def _one_file(name: str, build: Callable[[Choices], Component]) -> Field:
    return Field(
        build,
        lambda values, spec: {name: Path(values[name]) if values.get(name) else None},
        lambda draft, spec: getattr(draft, name),
    )


FILE_FIELDS: dict[str, Field] = {
    "image": _one_file("image", _first_frame),
    "last_image": only_if(takes_last_image, _one_file("last_image", _last_frame)),
    "control_video": only_if(takes_control, _one_file("control_video", _control_video)),
    "control_mask": only_if(takes_control, _one_file("control_mask", _control_mask)),
    "reference_images": only_if(takes_control, Field(_reference_images, _read_references, _show_references)),
}
