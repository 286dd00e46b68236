"""The length of the clip: seconds for the person, frames of the form 4k+1 for the model."""

from __future__ import annotations

import math
from typing import Any

import gradio as gr

from wan_pipeline.errors import RequestError
from wan_pipeline.models.spec import ModelSpec
from wan_pipeline.requests.request import Draft
from wan_pipeline.ui.create.fields.field import Choices, Field, FieldValues, parse_number

SHORTEST = 0.5
"""Seconds. The slider starts here, unless the model cannot make that much."""
QUARTER = 0.25
"""Seconds. The slider's step."""
FPS_RANGE = range(1, 121)


def seconds_of(num_frames: int, fps: float) -> float:
    """From the first frame to the last."""
    return (num_frames - 1) / fps


def frames_of(seconds: float, fps: float, spec: ModelSpec) -> int:
    """The inverse of `seconds_of`, rounded to a number of frames that the model makes."""
    group = spec.temporal_compression
    return round(seconds * fps / group) * group + 1


def length_bounds(spec: ModelSpec) -> tuple[float, float]:
    """Seconds of the shortest and the longest clip that the slider offers."""
    group = spec.temporal_compression
    longest = seconds_of((spec.max_frames - 1) // group * group + 1, spec.fps)
    if longest < SHORTEST:
        return longest, longest
    return SHORTEST, math.floor(longest / QUARTER) * QUARTER


def _build(choices: Choices) -> gr.Slider:
    low, high = length_bounds(choices.spec)
    value = seconds_of(choices.spec.num_frames, choices.spec.fps)
    return gr.Slider(low, high, value, step=QUARTER, label="Length in seconds", buttons=[], elem_classes="slim")


def _read(values: FieldValues, spec: ModelSpec) -> dict[str, Any]:
    fps = parse_number("fps", "Frames per second", values["fps"], int)
    if fps is None or fps not in FPS_RANGE:  # a wrong frame rate is refused when the draft is resolved
        fps = spec.fps
    frames = frames_of(values["seconds"], fps, spec)
    if frames > spec.max_frames:
        raise RequestError(
            "seconds",
            f"{values['seconds']:g} s at {fps} frames per second are {frames} frames; {spec.title} makes at most "
            f"{spec.max_frames}: choose a shorter clip or fewer frames per second.",
        )
    return {"num_frames": frames}


def _show(draft: Draft, spec: ModelSpec) -> float:
    return seconds_of(draft.num_frames or spec.num_frames, draft.fps or spec.fps)


LENGTH = Field(_build, _read, _show)
