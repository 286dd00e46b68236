"""The form of one tab: its components by field name, and the way from them to a Draft and back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import gradio as gr

from wan_pipeline.errors import ImageError
from wan_pipeline.models.spec import Mode, ModelSpec
from wan_pipeline.requests.request import Draft, LoraChoice
from wan_pipeline.ui.field import Choices, Values
from wan_pipeline.ui.fields import FIELDS, has_second_expert
from wan_pipeline.ui.file_fields import takes_control, takes_last_image

PARTS = {"last-image": takes_last_image, "control": takes_control, "second-guidance": has_second_expert}
"""What of the form is for some models only."""


class Form:
    """The components of one tab. `place` puts them where the layout wants them; the rest goes through the table."""

    def __init__(self, choices: Choices) -> None:
        self.choices = choices
        self.components: dict[str, gr.components.Component] = {}
        self.parts: dict[str, gr.Column] = {}

    @contextmanager
    def part(self, name: str, classes: str = "part") -> Iterator[None]:
        """What is placed within is shown for models that take it."""
        visible = PARTS[name](self.choices.spec)
        with gr.Column(visible=visible, elem_classes=classes, min_width=0) as self.parts[name]:
            yield

    def place(self, name: str) -> gr.components.Component:
        """Draw one field here. Not every form has every field: images are left out of the text form."""
        component = FIELDS[name].build(self.choices)
        self.components[name] = component
        return component

    def __getitem__(self, name: str) -> gr.components.Component:
        return self.components[name]

    @property
    def inputs(self) -> set[gr.components.Component]:
        return set(self.components.values())

    def values(self, given: Mapping[Any, Any]) -> dict[str, Any]:
        return {name: given[component] for name, component in self.components.items()}

    def draft(self, given: Mapping[Any, Any]) -> Draft:
        """What the person asked for. Raises UserError for what cannot be put into a Draft."""
        values = self.values(given)
        if self.choices.mode is Mode.IMAGE_TO_VIDEO and not values["image"]:
            raise ImageError("There is no image yet; drop one on the First frame box or click an example.")
        return read_draft(values, self.spec(values["model"]))

    def show(self, draft: Draft) -> dict[gr.components.Component, Any]:
        """The values of all components for a draft. Raises ModelError for a model that is not known here."""
        spec = self.spec(draft.model)
        return {component: FIELDS[name].show(draft, spec) for name, component in self.components.items()}

    def spec(self, model_id: str | None) -> ModelSpec:
        """The facts of a chosen model. Raises ModelError."""
        return self.choices.find(model_id)

    def fit_parts(self, spec: ModelSpec) -> dict[gr.Column, Any]:
        """Shows what this model takes, and hides what it does not."""
        return {part: gr.Column(visible=PARTS[name](spec)) for name, part in self.parts.items()}


def read_draft(values: Values, spec: ModelSpec) -> Draft:
    settings: dict[str, Any] = {}
    loras: tuple[LoraChoice, ...] = ()
    for name in values:
        read = FIELDS[name].read(values, spec)
        loras += read.pop("loras", ())
        settings.update(read)
    return Draft(**settings, loras=loras)
