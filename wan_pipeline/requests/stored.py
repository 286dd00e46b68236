"""Requests as an older or newer version may have stored them: always shown, run only when wholly understood."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

from wan_pipeline.errors import RequestError
from wan_pipeline.models.spec import Mode
from wan_pipeline.requests.request import GenerationRequest, SchedulerName

_UNREADABLE = {
    "model": "unknown",
    "mode": Mode.TEXT_TO_VIDEO,
    "prompt": "(its settings cannot be read)",
    "styled_prompt": "",
    "negative_prompt": "",
    "seed": 0,
    "width": 16,
    "height": 16,
    "num_frames": 1,
    "fps": 1,
    "num_inference_steps": 1,
    "guidance_scale": 1.0,
    "flow_shift": 1.0,
    "scheduler": SchedulerName.UNIPC,
}


def read_request(text: str) -> tuple[GenerationRequest, str | None]:
    """The request, and why it must not be run, if so: it is then only what could be read, for the list."""
    try:
        return GenerationRequest.from_json(text), None
    except (RequestError, ValueError, TypeError) as error:
        reason = f"This clip cannot be made here: {error} Open it with the version that stored it, or queue it anew."
        return _readable_part(text), reason


def _readable_part(text: str) -> GenerationRequest:
    names = {field.name for field in fields(GenerationRequest)}
    try:
        stored: dict[str, Any] = {key: value for key, value in json.loads(text).items() if key in names}
        return GenerationRequest.from_dict({**_UNREADABLE, **stored})
    except (RequestError, ValueError, TypeError, AttributeError):
        return GenerationRequest(**_UNREADABLE)  # type: ignore[arg-type]
