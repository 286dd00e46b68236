"""The length of the clip: seconds for the user, 4k+1 frames for the model."""

from __future__ import annotations

from typing import Any

import gradio as gr

from wan_pipeline.errors import RequestError
from wan_pipeline.models.spec import LENGTH_STEP, ModelSpec, clip_seconds
from wan_pipeline.requests.limits import MAX_FPS
from wan_pipeline.requests.request import Draft
from wan_pipeline.ui.create.fields.field import Choices, Field, FieldValues, parse_number


def _build(choices: Choices) -> gr.Slider:
    low, high = choices.spec.length_bounds
    value = clip_seconds(choices.spec.num_frames, choices.spec.fps)
    return gr.Slider(low, high, value, step=LENGTH_STEP, label="Length in seconds", buttons=[], elem_classes="slim")


def _read(values: FieldValues, spec: ModelSpec) -> dict[str, Any]:
    given = parse_number("fps", "Frames per second", values["fps"], int)
    fps = int(given) if given and 1 <= given <= MAX_FPS else spec.fps  # a wrong one is refused when it is resolved
    frames = spec.frames_of(values["seconds"], fps)
    if frames > spec.max_frames:
        raise RequestError(
            "seconds",
            f"{values['seconds']:g} s at {fps} frames per second are {frames} frames; {spec.title} makes at most "
            f"{spec.max_frames}: choose a shorter clip or fewer frames per second.",
        )
    return {"num_frames": frames}


def _show(draft: Draft, spec: ModelSpec) -> float:
    return clip_seconds(draft.num_frames or spec.num_frames, draft.fps or spec.fps)


LENGTH = Field(_build, _read, _show)
