"""One table that says how each setting of the form is drawn, read into a Draft, and filled from one."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gradio as gr

from wan_pipeline.errors import RequestError
from wan_pipeline.models import registry
from wan_pipeline.models.spec import ModelSpec
from wan_pipeline.presets import Preset
from wan_pipeline.request import Draft, LoraChoice, Mode, SchedulerName
from wan_pipeline.ui.upload import image_upload

LORA_SLOTS = 4
NO_LORA = ""
MATCH_IMAGE, CUSTOM = "match", "custom"
NATURAL = "natural"
SCHEDULERS = {SchedulerName.UNIPC: "UniPC", SchedulerName.EULER: "Euler", SchedulerName.DPMPP: "DPM++"}

Values = Mapping[str, Any]
"""What the components hold, by field name."""


@dataclass(frozen=True)
class Choices:
    """What a form offers when it is drawn."""

    mode: Mode
    models: tuple[ModelSpec, ...]
    presets: dict[str, Preset]
    loras: tuple[str, ...]
    prompt: str
    image: Path | None = None

    @property
    def spec(self) -> ModelSpec:
        """The model chosen at first."""
        return self.models[0]


@dataclass(frozen=True)
class Field:
    """One row: `read` gives keyword arguments for Draft, `show` the component's value for a Draft."""

    build: Callable[[Choices], gr.components.Component]
    read: Callable[[Values], dict[str, Any]]
    show: Callable[[Draft], Any]


def _given(value: Any) -> Any:
    return None if value in ("", None) else value


def spec_of(model: str | None) -> ModelSpec:
    """The facts of a chosen model. Raises ModelError."""
    return registry.find(model or registry.DEFAULT_MODEL)


# Numbers that may stay empty ---------------------------------------------------------------------------------------


def _number(
    name: str, label: str, kind: type[int] | type[float], draft_name: str | None = None, hint: str = ""
) -> Field:
    """Text boxes, because Gradio's number box cannot start empty, and swallows what is not a number."""
    key = draft_name or name

    def show(draft: Draft) -> str:
        value = getattr(draft, key)
        return "" if value is None else f"{value:.10g}"

    return Field(
        lambda choices: gr.Textbox(label=label, placeholder=hint, max_lines=1, min_width=90),
        lambda values: {key: parse_number(name, label, values[name], kind)},
        show,
    )


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


# Sizes -------------------------------------------------------------------------------------------------------------


def size_choices(spec: ModelSpec, mode: Mode) -> list[tuple[str, str]]:
    """(label, value) of the size buttons."""
    first = [("As image", MATCH_IMAGE)] if mode is Mode.IMAGE_TO_VIDEO else []
    sizes = [(f"{size.width} × {size.height}", f"{size.width}x{size.height}") for size in spec.sizes]
    return [*first, *sizes, ("Custom", CUSTOM)]


def _read_size(values: Values) -> dict[str, Any]:
    choice = values["size"]
    if choice == MATCH_IMAGE or choice is None:
        return {}
    if choice == CUSTOM:
        sides = {side: parse_number(side, side.capitalize(), values[side], int) for side in ("width", "height")}
        for side, value in sides.items():
            if value is None:
                raise RequestError(side, f"The custom size has no {side}; enter one or choose another size.")
        return sides
    width, height = choice.split("x")
    return {"width": int(width), "height": int(height)}


def _show_size(draft: Draft) -> str:
    if draft.width is None or draft.height is None:
        return MATCH_IMAGE
    offered = (f"{size.width}x{size.height}" for size in spec_of(draft.model).sizes)
    size = f"{draft.width}x{draft.height}"
    return size if size in offered else CUSTOM


# Length ------------------------------------------------------------------------------------------------------------


def length_bounds(spec: ModelSpec) -> tuple[float, float]:
    """Shortest and longest clip in seconds, on quarters of a second."""
    step = spec.temporal_compression
    longest = (spec.max_frames - 1) // step * step / spec.fps
    return min(0.5, longest), math.floor(longest * 4) / 4 if longest >= 0.5 else longest


def frames_of(seconds: float, fps: float, spec: ModelSpec) -> int:
    """The nearest number of frames of the model's form 4k+1."""
    step = spec.temporal_compression
    return round(seconds * fps / step) * step + 1


def _read_length(values: Values) -> dict[str, Any]:
    spec = spec_of(values["model"])
    fps = parse_number("fps", "Frames per second", values["fps"], int)
    if fps is None or not 1 <= fps <= 120:  # what is wrong with the frame rate is said where it is checked
        fps = spec.fps
    frames = frames_of(values["seconds"], fps, spec)
    if frames > spec.max_frames:
        raise RequestError(
            "seconds",
            f"{values['seconds']:g} s at {fps} frames per second are {frames} frames; {spec.title} makes at most "
            f"{spec.max_frames}: choose a shorter clip or fewer frames per second.",
        )
    return {"num_frames": frames}


def _show_length(draft: Draft) -> float:
    spec = spec_of(draft.model)
    return ((draft.num_frames or spec.num_frames) - 1) / (draft.fps or spec.fps)


# LoRAs -------------------------------------------------------------------------------------------------------------


def lora_choices(names: tuple[str, ...]) -> list[tuple[str, str]]:
    return [("None", NO_LORA), *((name, name) for name in names)]


def _lora_fields(slot: int) -> dict[str, Field]:
    name, weight = f"lora_{slot}", f"lora_weight_{slot}"

    def read(values: Values) -> dict[str, Any]:
        if not values[name]:
            return {}
        number = parse_number("loras", f"Weight of LoRA '{values[name]}'", values[weight], float)
        return {"loras": (LoraChoice(values[name], 1.0 if number is None else number),)}

    def chosen(draft: Draft) -> LoraChoice | None:
        return draft.loras[slot] if slot < len(draft.loras) else None

    return {
        name: Field(
            lambda choices: gr.Dropdown(
                lora_choices(choices.loras),
                value=NO_LORA,
                label=f"LoRA {slot + 1}",
                scale=3,
                allow_custom_value=True,  # a file that is gone: the studio says so, where Gradio would do nothing
            ),
            read,
            lambda draft: lora.name if (lora := chosen(draft)) else NO_LORA,
        ),
        weight: Field(
            lambda choices: gr.Textbox("1", label="Weight", placeholder="1", max_lines=1, min_width=90, scale=1),
            lambda values: {},
            lambda draft: f"{lora.weight:.10g}" if (lora := chosen(draft)) else "1",
        ),
    }


# The table ---------------------------------------------------------------------------------------------------------


def _prompt(choices: Choices) -> gr.Textbox:
    label = "Prompt" if choices.mode is Mode.TEXT_TO_VIDEO else "What happens"
    return gr.Textbox(choices.prompt, label=label, lines=3, max_lines=8, placeholder="What should be seen?")


def _negative(choices: Choices) -> gr.Textbox:
    return gr.Textbox(label="Negative prompt", lines=1, max_lines=4, placeholder="What should not be seen (optional)")


def _model(choices: Choices) -> gr.Dropdown:
    return gr.Dropdown([(spec.title, spec.id) for spec in choices.models], value=choices.spec.id, label="Model")


def _preset(choices: Choices) -> gr.Radio:
    cards = [(preset.title, preset.id) for preset in choices.presets.values()]
    value = NATURAL if NATURAL in choices.presets else None
    return gr.Radio(cards, value=value, label="Style", elem_classes="style-cards")


def _size(choices: Choices) -> gr.Radio:
    options = size_choices(choices.spec, choices.mode)
    return gr.Radio(options, value=options[0][1], label="Size", elem_classes="size-cards")


def _length(choices: Choices) -> gr.Slider:
    low, high = length_bounds(choices.spec)
    value = (choices.spec.num_frames - 1) / choices.spec.fps
    return gr.Slider(low, high, value, step=0.25, label="Length in seconds", buttons=[], elem_classes="slim")


def _scheduler(choices: Choices) -> gr.Dropdown:
    options = [("Automatic", ""), *((title, name.value) for name, title in SCHEDULERS.items())]
    return gr.Dropdown(options, value="", label="Scheduler", min_width=120)


def _image(choices: Choices) -> gr.Image:
    return image_upload(
        str(choices.image) if choices.image else None, label="First frame", height=230, elem_classes="first-frame"
    )


FIELDS: dict[str, Field] = {
    "image": Field(
        _image,
        lambda values: {"image": Path(values["image"]) if values.get("image") else None},
        lambda draft: draft.image,
    ),
    "prompt": Field(_prompt, lambda values: {"prompt": values["prompt"] or ""}, lambda draft: draft.prompt),
    "negative_prompt": Field(
        _negative,
        lambda values: {"negative_prompt": _given(values["negative_prompt"])},
        lambda draft: draft.negative_prompt or "",
    ),
    "model": Field(_model, lambda values: {"model": values["model"]}, lambda draft: draft.model),
    "preset": Field(_preset, lambda values: {"preset": values["preset"]}, lambda draft: draft.preset),
    "size": Field(_size, _read_size, _show_size),
    "width": replace(_number("width", "Width", int), read=lambda values: {}),
    "height": replace(_number("height", "Height", int), read=lambda values: {}),
    "seconds": Field(_length, _read_length, _show_length),
    "seed": _number("seed", "Seed", int, hint="random"),
    "steps": _number("steps", "Steps", int, "num_inference_steps"),
    "guidance": _number("guidance", "Guidance", float, "guidance_scale"),
    "flow_shift": _number("flow_shift", "Flow shift", float),
    "fps": _number("fps", "Frames per second", int),
    "scheduler": Field(
        _scheduler, lambda values: {"scheduler": _given(values["scheduler"])}, lambda draft: draft.scheduler or ""
    ),
    **{name: field for slot in range(LORA_SLOTS) for name, field in _lora_fields(slot).items()},
}

TIMED = ("image", "model", "preset", "size", "width", "height", "seconds", "steps", "guidance", "fps", "scheduler")
"""Fields that change how long a clip takes, or whether it can be made at all."""
