"""The form of one mode: its components by name of the field, and the way between them and a draft."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from typing import Any

import gradio as gr
from gradio.components import Component

from wan_pipeline.errors import ImageError, UserError
from wan_pipeline.models.spec import Mode, ModelSpec
from wan_pipeline.requests.request import Draft
from wan_pipeline.ui.common.events import Updates, Values
from wan_pipeline.ui.create.fields.faults import field_at_fault
from wan_pipeline.ui.create.fields.field import Choices, FieldValues, has_second_expert
from wan_pipeline.ui.create.fields.files import takes_control, takes_last_image
from wan_pipeline.ui.create.fields.loras import ROW
from wan_pipeline.ui.create.fields.table import FIELDS


class Part(StrEnum):
    """A part of the form that only some models take."""

    LAST_IMAGE = "last-image"
    CONTROL = "control"
    SECOND_GUIDANCE = "second-guidance"


TAKES: Mapping[Part, Callable[[ModelSpec], bool]] = {
    Part.LAST_IMAGE: takes_last_image,
    Part.CONTROL: takes_control,
    Part.SECOND_GUIDANCE: has_second_expert,
}


class Form:
    """The fields of one mode. The layout places them one by one; all else goes through the table of fields."""

    def __init__(self, choices: Choices) -> None:
        self.choices = choices
        self.components: dict[str, Component] = {}
        self.parts: dict[Part, gr.Column] = {}

    # Layout

    def place(self, *names: str) -> None:
        """Draw these fields here. A form need not have all fields: that for text has no image."""
        for name in names:
            self.components[name] = FIELDS[name].build(self.choices)
            self.components[name].elem_id = self.element(name)

    def element(self, name: str) -> str:
        """The id of a field's element on the page, by which faults.js puts a message at the field."""
        return f"{self.choices.mode}-{name}"

    @contextmanager
    def part(self, part: Part) -> Iterator[None]:
        """What is placed within is visible for models that take it."""
        visible = TAKES[part](self.choices.spec)
        with gr.Column(visible=visible, elem_classes="part", min_width=0) as self.parts[part]:
            yield

    # Events

    def __getitem__(self, name: str) -> Component:
        return self.components[name]

    @property
    def inputs(self) -> set[Component]:
        """All fields."""
        return set(self.components.values())

    @property
    def timed(self) -> list[Component]:
        """The fields that change how long a clip takes, or whether it fits the memory."""
        return [component for name, component in self.components.items() if FIELDS[name].is_timed]

    def values(self, given: Values) -> FieldValues:
        """What the fields hold, by name."""
        return {name: given[component] for name, component in self.components.items()}

    def fault(self, error: UserError, given: Values) -> str:
        """The id of the element at which the error's message stands; empty if it is about no field of this form."""
        name = field_at_fault(error, self.values(given))
        return self.element(name) if name in self.components or name.startswith(ROW) else ""

    def spec(self, model_id: str | None) -> ModelSpec:
        """The facts of a chosen model. Raises ModelError for one that is not known here."""
        return self.choices.spec_of(model_id)

    def draft(self, given: Values) -> Draft:
        """What the form asks for. Raises UserError if it is not a draft."""
        values = self.values(given)
        if self.choices.mode is Mode.IMAGE_TO_VIDEO and not values["image"]:
            raise ImageError("There is no image yet; drop one on the First frame box or click an example.", "image")
        return read_draft(values, self.spec(values["model"]))

    def show(self, draft: Draft) -> Updates:
        """The draft's value for every field. Raises ModelError for a model that is not known here."""
        spec = self.spec(draft.model)
        return {component: FIELDS[name].show(draft, spec) for name, component in self.components.items()}

    def show_parts(self, spec: ModelSpec) -> Updates:
        """Show the parts that the model takes, hide the others."""
        return {column: gr.Column(visible=TAKES[part](spec)) for part, column in self.parts.items()}


def read_draft(values: FieldValues, spec: ModelSpec) -> Draft:
    """The draft of these values. Raises RequestError."""
    settings: dict[str, Any] = {}
    for name in values:
        settings |= FIELDS[name].read(values, spec)
    return Draft(**settings)
