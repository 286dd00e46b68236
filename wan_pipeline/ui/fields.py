"""One table that says how each setting of the form is drawn, read into a Draft, and filled from one."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import gradio as gr

from wan_pipeline.errors import RequestError
from wan_pipeline.models.precision import Precision
from wan_pipeline.models.spec import Mode, ModelSpec
from wan_pipeline.requests.request import Draft, LoraChoice, SchedulerName
from wan_pipeline.ui.field import Choices, Field, Values, number, only_where, parse_number, plain
from wan_pipeline.ui.file_fields import FILE_FIELDS

LORA_SLOTS = 4
NO_LORA = ""
MATCH_IMAGE, CUSTOM = "match", "custom"
NATURAL = "natural"
SCHEDULERS = {SchedulerName.UNIPC: "UniPC", SchedulerName.EULER: "Euler", SchedulerName.DPMPP: "DPM++"}
WEIGHTS = {Precision.FP8_COMPUTE: "FP8 computing (error 6.7 %, INT8 2.4 %)"}
"""What a precision is called where it is not its name in capitals."""

# Sizes -------------------------------------------------------------------------------------------------------------


def size_choices(spec: ModelSpec, mode: Mode) -> list[tuple[str, str]]:
    """(label, value) of the size buttons."""
    first = [("As image", MATCH_IMAGE)] if mode is Mode.IMAGE_TO_VIDEO else []
    sizes = [(f"{size.width} × {size.height}", f"{size.width}x{size.height}") for size in spec.sizes]
    return [*first, *sizes, ("Custom", CUSTOM)]


def _read_size(values: Values, spec: ModelSpec) -> dict[str, Any]:
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


def _show_size(draft: Draft, spec: ModelSpec) -> str:
    if draft.width is None or draft.height is None:
        return MATCH_IMAGE
    offered = (f"{size.width}x{size.height}" for size in spec.sizes)
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


def _read_length(values: Values, spec: ModelSpec) -> dict[str, Any]:
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


def _show_length(draft: Draft, spec: ModelSpec) -> float:
    return ((draft.num_frames or spec.num_frames) - 1) / (draft.fps or spec.fps)


# LoRAs -------------------------------------------------------------------------------------------------------------


def lora_choices(names: tuple[str, ...]) -> list[tuple[str, str]]:
    return [("None", NO_LORA), *((name, name) for name in names)]


def _lora_fields(slot: int) -> dict[str, Field]:
    name, weight = f"lora_{slot}", f"lora_weight_{slot}"

    def read(values: Values, spec: ModelSpec) -> dict[str, Any]:
        if not values[name]:
            return {}
        strength = parse_number("loras", f"Weight of LoRA '{values[name]}'", values[weight], float)
        return {"loras": (LoraChoice(values[name], 1.0 if strength is None else strength),)}

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
            lambda draft, spec: lora.name if (lora := chosen(draft)) else NO_LORA,
        ),
        weight: Field(
            lambda choices: gr.Textbox("1", label="Weight", placeholder="1", max_lines=1, min_width=90, scale=1),
            lambda values, spec: {},
            lambda draft, spec: f"{lora.weight:.10g}" if (lora := chosen(draft)) else "1",
        ),
    }


# The table ---------------------------------------------------------------------------------------------------------


def _prompt(choices: Choices) -> gr.Textbox:
    label = "Prompt" if choices.mode is Mode.TEXT_TO_VIDEO else "What happens"
    return gr.Textbox(choices.prompt, label=label, lines=3, max_lines=8, placeholder="What should be seen?")


def _negative(choices: Choices) -> gr.Textbox:
    return gr.Textbox(label="Negative prompt", lines=1, max_lines=4, placeholder="What should not be seen (optional)")


def model_choices(specs: tuple[ModelSpec, ...]) -> list[tuple[str, str]]:
    return [(spec.title, spec.id) for spec in specs]


def _model(choices: Choices) -> gr.Dropdown:
    return gr.Dropdown(model_choices(choices.models), value=choices.spec.id, label="Model")


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


def speed_choices(choices: Choices, spec: ModelSpec) -> list[tuple[str, str]]:
    """(label, value) of the speeds for a model; the model's own first, alone where nobody has made another."""
    return [
        ("The model's own", ""),
        *((speed.title, speed.id) for speed in choices.speeds.values() if speed.fits(spec)),
    ]


def _speed(choices: Choices) -> gr.Dropdown:
    options = speed_choices(choices, choices.spec)
    return gr.Dropdown(options, value="", label="Speed", visible=len(options) > 1)


def _weights(choices: Choices) -> gr.Dropdown:
    options = [("Automatic", ""), *((WEIGHTS.get(kind, kind.upper()), kind.value) for kind in Precision)]
    return gr.Dropdown(options, value="", label="Weights", min_width=120)


def has_second_expert(spec: ModelSpec) -> bool:
    return spec.guidance_scale_2 is not None


FIELDS: dict[str, Field] = {
    **FILE_FIELDS,
    "prompt": Field(_prompt, lambda values, spec: {"prompt": values["prompt"] or ""}, lambda draft, spec: draft.prompt),
    "negative_prompt": plain("negative_prompt", _negative),
    "model": Field(_model, lambda values, spec: {"model": values["model"]}, lambda draft, spec: draft.model),
    "preset": Field(_preset, lambda values, spec: {"preset": values["preset"]}, lambda draft, spec: draft.preset),
    "speed": plain("speed", _speed),
    "size": Field(_size, _read_size, _show_size),
    "width": replace(number("width", "Width", int), read=lambda values, spec: {}),
    "height": replace(number("height", "Height", int), read=lambda values, spec: {}),
    "seconds": Field(_length, _read_length, _show_length),
    "seed": number("seed", "Seed", int, hint="random"),
    "steps": number("steps", "Steps", int, "num_inference_steps"),
    "guidance": number("guidance", "Guidance", float, "guidance_scale"),
    "guidance_2": only_where(
        has_second_expert, number("guidance_2", "Guidance of the last steps", float, "guidance_scale_2")
    ),
    "flow_shift": number("flow_shift", "Flow shift", float),
    "fps": number("fps", "Frames per second", int),
    "scheduler": plain("scheduler", _scheduler),
    "quantization": plain("quantization", _weights),
    "first_block_cache": number("first_block_cache", "First-block cache", float, hint="off"),
    **{name: field for slot in range(LORA_SLOTS) for name, field in _lora_fields(slot).items()},
}

TIMED = (
    *FILE_FIELDS,
    *(
        "model",
        "preset",
        "speed",
        "size",
        "width",
        "height",
        "seconds",
        "steps",
        "guidance",
        "guidance_2",
        "fps",
        "scheduler",
    ),
    *("quantization", "first_block_cache"),
)
"""Fields that change how long a clip takes, or whether it can be made at all."""
