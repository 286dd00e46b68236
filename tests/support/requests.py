"""Requests for tests."""

from __future__ import annotations

from typing import Any

from wan_pipeline.models.spec import Mode
from wan_pipeline.progress import SilentObserver
from wan_pipeline.requests.request import Draft, GenerationRequest
from wan_pipeline.requests.sampling.scheduler import SchedulerName

Silence = SilentObserver
BALL = Draft(prompt="a red ball", seed=1)


def make_request(**changes: Any) -> GenerationRequest:
    """A small one that keeps every rule of the demo model."""
    settings: dict[str, Any] = {
        "model": "demo",
        "mode": Mode.TEXT_TO_VIDEO,
        "prompt": "a red ball bounces",
        "styled_prompt": "a red ball bounces",
        "negative_prompt": "",
        "seed": 42,
        "width": 320,
        "height": 192,
        "num_frames": 33,
        "fps": 16,
        "num_inference_steps": 4,
        "guidance_scale": 3.0,
        "flow_shift": 3.0,
        "scheduler": SchedulerName.UNIPC,
    }
    return GenerationRequest(**settings | changes)
