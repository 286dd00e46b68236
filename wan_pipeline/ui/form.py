"""The form of one tab: its components by field name, and the way from them to a Draft and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gradio as gr

from wan_pipeline.errors import ImageError
from wan_pipeline.request import Draft, LoraChoice, Mode
from wan_pipeline.ui.fields import FIELDS, Choices, Values


class Form:
    """The components of one tab. `place` puts them where the layout wants them; the rest goes through the table."""

    def __init__(self, choices: Choices) -> None:
        self.choices = choices
        self.components: dict[str, gr.components.Component] = {}

    def place(self, name: str) -> gr.components.Component:
        """Draw one field here. The image is left out of the text form."""
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
        """What the person asked for. Raises RequestError or ImageError for what cannot be put into a Draft."""
        values = self.values(given)
        if self.choices.mode is Mode.IMAGE_TO_VIDEO and not values["image"]:
            raise ImageError("There is no image yet; drop one on the First frame box or click an example.")
        return read_draft(values)

    def show(self, draft: Draft) -> dict[gr.components.Component, Any]:
        """The values of all components for a draft."""
        return {component: FIELDS[name].show(draft) for name, component in self.components.items()}


def read_draft(values: Values) -> Draft:
    settings: dict[str, Any] = {}
    loras: tuple[LoraChoice, ...] = ()
    for name in values:
        read = FIELDS[name].read(values)
        loras += read.pop("loras", ())
        settings.update(read)
    return Draft(**settings, loras=loras)
