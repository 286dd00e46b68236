"""The clip that benchmarks of the store queue or list: the demo model's own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from wan_pipeline.models.registry import DEMO
from wan_pipeline.requests.own_clip import own_request
from wan_pipeline.requests.request import GenerationRequest

PROMPT = "a red ball bounces"


def demo_request(**changes: Any) -> GenerationRequest:
    """A clip of the demo model at its own settings, with these changes."""
    return replace(own_request(DEMO), **{"prompt": PROMPT, "styled_prompt": PROMPT, **changes})
