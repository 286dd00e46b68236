"""The fields that hold files: the first and the last frame, and what leads a clip of a model that takes control."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import gradio as gr

from wan_pipeline.models.spec import LastImage, ModelSpec
from wan_pipeline.ui.field import Choices, Field, only_where
from wan_pipeline.ui.upload import file_upload, gallery_upload, image_upload, video_upload


def takes_last_image(spec: ModelSpec) -> bool:
    return spec.last_image is not LastImage.NO


def takes_control(spec: ModelSpec) -> bool:
    return spec.takes_control


def _first(choices: Choices) -> gr.Image:
    path = str(choices.image) if choices.image else None
    return image_upload(path, label="First frame", height=230, elem_classes="first-frame")


def _last(choices: Choices) -> gr.Image:
    return image_upload(None, label="Last frame", height=150, elem_classes="first-frame")


def _video(choices: Choices) -> gr.Video:
    return video_upload(label="Control video", height=150, elem_classes=["first-frame", "takes-video"])


def _mask(choices: Choices) -> gr.File:
    return file_upload(label="Control mask (picture or video)", height=150, elem_classes=["first-frame", "takes-video"])


def _references(choices: Choices) -> gr.Gallery:
    classes = ["first-frame", "references"]
    return gallery_upload(label="Reference images", columns=4, height=132, object_fit="contain", elem_classes=classes)


def _one(name: str, build: Callable[[Choices], gr.components.Component]) -> Field:
    return Field(
        build,
        lambda values, spec: {name: Path(values[name]) if values.get(name) else None},
        lambda draft, spec: getattr(draft, name),
    )


FILE_FIELDS: dict[str, Field] = {
    "image": _one("image", _first),
    "last_image": only_where(takes_last_image, _one("last_image", _last)),
    "control_video": only_where(takes_control, _one("control_video", _video)),
    "control_mask": only_where(takes_control, _one("control_mask", _mask)),
    "reference_images": only_where(
        takes_control,
        Field(
            _references,
            lambda values, spec: {
                "reference_images": tuple(Path(path) for path in values.get("reference_images") or ())
            },
            lambda draft, spec: [str(path) for path in draft.reference_images],
        ),
    ),
}
