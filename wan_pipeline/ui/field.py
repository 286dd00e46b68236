"""What one field of the form is, and the plain kinds of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from pathlib import Path
from typing import Any

import gradio as gr

from wan_pipeline.errors import RequestError
from wan_pipeline.models.spec import Mode, ModelSpec
from wan_pipeline.requests.presets import Preset
from wan_pipeline.requests.request import Draft
from wan_pipeline.requests.speeds import Speed

Values = Mapping[str, Any]
"""What the components hold, by field name."""


@dataclass(frozen=True)
class Choices:
    """What a form offers when it is drawn, and how it looks up what has come since."""

    mode: Mode
    models: tuple[ModelSpec, ...]
    presets: dict[str, Preset]
    loras: tuple[str, ...]
    prompt: str
    find: Callable[[str | None], ModelSpec]
    """The facts of a model, by default of the first one known. Raises ModelError."""
    offer: Callable[[], tuple[ModelSpec, ...]]
    """The models that can be chosen now."""
    image: Path | None = None
    speeds: dict[str, Speed] = dataclass_field(default_factory=dict)

    @property
    def spec(self) -> ModelSpec:
        """The model chosen at first."""
        return self.models[0]


@dataclass(frozen=True)
class Field:
    """One row: `read` gives keyword arguments for Draft, `show` the component's value for a Draft, both for a model."""

    build: Callable[[Choices], gr.components.Component]
    read: Callable[[Values, ModelSpec], dict[str, Any]]
    show: Callable[[Draft, ModelSpec], Any]


def given(value: Any) -> Any:
    return None if value in ("", None) else value


def plain(name: str, build: Callable[[Choices], gr.components.Component]) -> Field:
    """A setting that the component holds as it is; an empty one is left open."""
    return Field(
        build,
        lambda values, spec: {name: given(values[name])},
        lambda draft, spec: getattr(draft, name) or "",
    )


def number(
    name: str, label: str, kind: type[int] | type[float], draft_name: str | None = None, hint: str = ""
) -> Field:
    """A number that may stay empty. Text boxes: Gradio's number box cannot start empty, and swallows what is none."""
    key = draft_name or name

    def show(draft: Draft, spec: ModelSpec) -> str:
        value = getattr(draft, key)
        return "" if value is None else f"{value:.10g}"

    return Field(
        lambda choices: gr.Textbox(label=label, placeholder=hint, max_lines=1, min_width=90),
        lambda values, spec: {key: parse_number(name, label, values[name], kind)},
        show,
    )


def only_where(takes: Callable[[ModelSpec], bool], field: Field) -> Field:
    """A field that is hidden, and not read, for models that do not take it."""
    return Field(field.build, lambda values, spec: field.read(values, spec) if takes(spec) else {}, field.show)


def parse_number(name: str, label: str, text: str | None, kind: type[int] | type[float]) -> int | float | None:
    """What was typed, or None for nothing. Raises RequestError for what is no number."""
    text = (text or "").strip().replace(",", ".")
    if not text:
        return None
    try:
        return kind(text)
    except ValueError:
        wanted = "whole number" if kind is int else "number"
        shown = text if len(text) <= 40 else text[:40] + "…"
        raise RequestError(name, f"{label} '{shown}' is not a {wanted}; enter one or leave it empty.") from None
