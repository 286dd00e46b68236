"""What happens around the files of a form: bad ones are refused, and what a crop loses of a picture is shown."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from wan_pipeline.errors import UserError
from wan_pipeline.requests.inputs.image_fit import MIDDLE, ImageFit, cropped_share
from wan_pipeline.requests.layers import shown
from wan_pipeline.requests.request import Draft
from wan_pipeline.studio import Studio
from wan_pipeline.ui.common.events import CLEAR, QUIET, Updates, Values
from wan_pipeline.ui.common.templates import Templates
from wan_pipeline.ui.create import html
from wan_pipeline.ui.create.fields.files import FILE_FIELDS
from wan_pipeline.ui.create.layout import FormLayout

NOTICEABLE = 0.01
"""A smaller share of the picture is cropped without a word: sizes come in steps."""
REFRAMED_BY = (
    *("image", "last_image", "size", "width", "height", "model", "preset", "quality", "speed"),
    *("image_fit", "image_crop"),
)


class FileEvents:
    """The events of the file boxes of one form. The form for text has no pictures to be framed."""

    def __init__(self, studio: Studio, templates: Templates, layout: FormLayout, project: gr.Dropdown) -> None:
        self._studio, self._templates, self._project = studio, templates, project
        self._layout, self._form = layout, layout.form

    def wire(self, page: gr.Blocks) -> None:
        boxes: dict[str, Any] = {name: box for name, box in self._form.components.items() if name in FILE_FIELDS}
        for name, box in boxes.items():
            # A refused file empties its box, which must not clear the message: only the person's own click does.
            box.upload(partial(self.check, name), box, [box, self._layout.notice], **QUIET)
            if name != "reference_images":
                box.clear(None, None, self._layout.notice, js=CLEAR)
        if "image" in boxes:
            self._wire_framing(page, [boxes["image"], boxes["last_image"]])

    def _wire_framing(self, page: gr.Blocks, pictures: list[Any]) -> None:
        layout, form = self._layout, self._form
        changes = [form[name].change for name in REFRAMED_BY]
        outputs = [layout.framing, layout.framing_note]
        triggers, inputs = [page.load, self._project.change, *changes], form.inputs | {self._project}
        gr.on(triggers, self.show_framing, inputs, outputs, trigger_mode="always_last", **QUIET)
        for picture in pictures:  # another one starts with its middle
            picture.upload(None, None, form["image_crop"], js=f"() => '{MIDDLE:g}'")

    def check(self, name: str, chosen: str | list[str] | None) -> Updates:
        """Refuse a file that cannot be used, with a sentence at its box; of several, the others stay."""
        paths = [chosen] if isinstance(chosen, str) else chosen or []
        good, message = [], ""
        for path in paths:
            try:
                self._studio.requests.files.check(name, Path(path))
                good.append(path)
            except UserError as error:
                message = html.fault(self._templates, str(error), self._form.element(name))
        if len(good) == len(paths):
            return {self._layout.notice: ""}
        return {self._form[name]: good if isinstance(chosen, list) else None, self._layout.notice: message}

    def show_framing(self, values: Values) -> Updates:
        """What is lost of the picture that loses most; nothing without a picture, or where all of it is seen."""
        layout = self._layout
        with suppress(UserError):  # the estimate says what is missing
            draft = self._form.draft(values)
            size, lost, has_side_bars = self._measure(draft, str(values[self._project] or ""))
            note = self._templates.render(
                "create/framing.html",
                lost=lost if lost >= NOTICEABLE else 0.0,
                fit=draft.image_fit or ImageFit.CROP.value,
                position=MIDDLE if draft.image_crop is None else draft.image_crop,
                ratio=size[0] / size[1],
                size=f"{size[0]} × {size[1]}",
                has_side_bars=has_side_bars,
            )
            return {layout.framing: gr.Column(visible=lost >= NOTICEABLE), layout.framing_note: note}
        return {layout.framing: gr.Column(visible=False), layout.framing_note: ""}

    def _measure(self, draft: Draft, project: str) -> tuple[tuple[int, int], float, bool]:
        """The clip's size, the share lost of the picture that loses most, and whether that is the narrower shape."""
        resolver = self._studio.requests.within(self._studio.projects.layers(project))
        request = resolver.resolve_settings(replace(shown(draft), prompt="any"))
        size = request.width, request.height
        pictures = [resolver.pictures.measure(path) for path in (draft.image, draft.last_image) if path is not None]
        picture = max(pictures, key=lambda each: cropped_share(each, size))
        return size, cropped_share(picture, size), picture[0] / picture[1] < size[0] / size[1]
