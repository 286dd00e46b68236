"""What the chosen size does to the first and the last frame: said, and shown over the picture, before the click."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import gradio as gr

from wan_pipeline.errors import UserError
from wan_pipeline.requests.image_fit import MIDDLE, ImageFit, cropped_share
from wan_pipeline.requests.request import Draft
from wan_pipeline.studio import Studio
from wan_pipeline.ui.common.events import QUIET, Updates, Values
from wan_pipeline.ui.common.templates import Templates
from wan_pipeline.ui.create.layout import FormLayout

NOTICEABLE = 0.01
"""A smaller share of the picture is cropped without a word: sizes come in steps."""
CHANGED_BY = ("image", "last_image", "size", "width", "height", "model", "preset", "image_fit", "image_crop")


class FramingEvents:
    """The events around the pictures of one form."""

    def __init__(self, studio: Studio, templates: Templates, layout: FormLayout) -> None:
        self._studio, self._templates = studio, templates
        self._layout, self._form = layout, layout.form

    def wire(self, page: gr.Blocks) -> None:
        form, layout = self._form, self._layout
        changes = [form[name].change for name in CHANGED_BY]
        outputs = [layout.framing, layout.framing_note]
        gr.on([page.load, *changes], self.show, form.inputs, outputs, trigger_mode="always_last", **QUIET)
        for name in ("image", "last_image"):  # another picture starts with its middle
            form[name].upload(lambda: f"{MIDDLE:g}", None, form["image_crop"], **QUIET)  # type: ignore[attr-defined]

    def show(self, values: Values) -> Updates:
        """What is lost of the picture that loses most; nothing without a picture, or where all of it is seen."""
        layout = self._layout
        with suppress(UserError):  # the estimate says what the form lacks
            draft = self._form.draft(values)
            size, lost, has_side_bars = self._measure(draft)
            return {
                layout.framing: gr.Column(visible=lost >= NOTICEABLE),
                layout.framing_note: self._templates.render(
                    "create/framing.html",
                    lost=lost if lost >= NOTICEABLE else 0.0,
                    fit=draft.image_fit or ImageFit.CROP.value,
                    position=MIDDLE if draft.image_crop is None else draft.image_crop,
                    ratio=size[0] / size[1],
                    size=f"{size[0]} × {size[1]}",
                    has_side_bars=has_side_bars,
                ),
            }
        return {layout.framing: gr.Column(visible=False), layout.framing_note: ""}

    def _measure(self, draft: Draft) -> tuple[tuple[int, int], float, bool]:
        """The clip's size, the share that is lost of the picture that loses most, and whether it is the narrower one."""
        resolver = self._studio.requests
        request = resolver.resolve_settings(replace(draft, prompt="any"))
        size = request.width, request.height
        pictures = [resolver.pictures.measure(path) for path in (draft.image, draft.last_image) if path is not None]
        picture = max(pictures, key=lambda each: cropped_share(each, size))
        return size, cropped_share(picture, size), picture[0] / picture[1] < size[0] / size[1]
