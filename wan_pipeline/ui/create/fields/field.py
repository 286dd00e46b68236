"""What a field of the form is, and the plain kinds of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.components import Component

from wan_pipeline.errors import RequestError
from wan_pipeline.models.spec import Mode, ModelSpec
from wan_pipeline.requests.presets import Preset
from wan_pipeline.requests.request import Draft
from wan_pipeline.requests.sampling.speeds import Speed

FieldValues = Mapping[str, Any]
"""What the components hold, by name of the field."""


@dataclass(frozen=True)
class Choices:
    """What the form of one mode offers when it is drawn, and how it finds the models that have come since."""

    mode: Mode
    models: tuple[ModelSpec, ...]
    """The models to choose from, the chosen one first."""
    presets: Mapping[str, Preset]
    prompt: str
    spec_of: Callable[[str | None], ModelSpec]
    """The facts of a model, or of the default one for None. Raises ModelError."""
    offered_models: Callable[[], tuple[ModelSpec, ...]]
    """The models to choose from now."""
    image: Path | None = None
    speeds: Mapping[str, Speed] = field(default_factory=dict)

    @property
    def spec(self) -> ModelSpec:
        """The model chosen when the form is drawn."""
        return self.models[0]


@dataclass(frozen=True)
class Field:
    """One field of the form."""

    build: Callable[[Choices], Component]
    """Draws its component."""
    read: Callable[[FieldValues, ModelSpec], dict[str, Any]]
    """Keyword arguments for `Draft`. Raises RequestError."""
    show: Callable[[Draft, ModelSpec], Any]
    """The component's value for a draft."""
    is_timed: bool = True
    """Whether it changes how long a clip takes or whether it fits the memory."""


def has_second_expert(spec: ModelSpec) -> bool:
    return spec.guidance_scale_2 is not None


def blank_to_none(value: Any) -> Any:
    return None if value in ("", None) else value


def plain(name: str, build: Callable[[Choices], Component], *, is_timed: bool = True) -> Field:
    """A setting that the component holds as it is; blank means None."""
    return Field(
        build,
        lambda values, spec: {name: blank_to_none(values[name])},
        lambda draft, spec: getattr(draft, name) or "",
        is_timed,
    )


def number(
    name: str,
    label: str,
    kind: type[int] | type[float],
    setting: str | None = None,
    *,
    placeholder: str = "",
    is_timed: bool = True,
) -> Field:
    """A number that may stay blank. `setting` is its name in `Draft`, if that differs.

    A text box, for Gradio's number box cannot start blank and silently drops what is not a number.
    """
    setting = setting or name

    def show(draft: Draft, spec: ModelSpec) -> str:
        value = getattr(draft, setting)
        if isinstance(value, int):  # a seed may have twenty digits
            return str(value)
        return "" if value is None else f"{value:.10g}"

    return Field(
        lambda choices: gr.Textbox(label=label, placeholder=placeholder, max_lines=1, min_width=90),
        lambda values, spec: {setting: parse_number(name, label, values[name], kind)},
        show,
        is_timed,
    )


def only_if(takes: Callable[[ModelSpec], bool], field: Field) -> Field:
    """A field that is read only for models that take it. The form hides it for others."""
    return Field(
        field.build,
        lambda values, spec: field.read(values, spec) if takes(spec) else {},
        field.show,
        field.is_timed,
    )


def parse_number(name: str, label: str, text: str | None, kind: type[int] | type[float]) -> int | float | None:
    """The number in a text box, with a decimal point or comma; None for a blank one. Raises RequestError."""
    text = (text or "").strip().replace(",", ".")
    if not text:
        return None
    try:
        return kind(text)
    except ValueError:
        wanted = "whole number" if kind is int else "number"
        shown = text if len(text) <= 40 else text[:40] + "…"
        raise RequestError(name, f"{label} '{shown}' is not a {wanted}; enter one or leave it empty.") from None
