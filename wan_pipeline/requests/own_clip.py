"""The clip a model makes at its own settings: forecasts are made for it before there is a request."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from wan_pipeline.models.spec import LastImage, Mode, ModelSpec
from wan_pipeline.requests.request import Draft, GenerationRequest
from wan_pipeline.requests.resolve import PENDING, resolve


def own_request(spec: ModelSpec, changes: Draft | None = None) -> GenerationRequest:
    """A request at the model's own settings, but for those of `changes`. To plan with, not to render.

    It has a prompt, and a pending image if the model cannot do without one. Raises RequestError as `resolve` does.
    """
    image = None if Mode.TEXT_TO_VIDEO in spec.modes else PENDING
    last_image = Path(PENDING) if spec.last_image is LastImage.REQUIRED else None
    draft = replace(changes or Draft(), prompt="any", seed=0, last_image=last_image)
    return resolve(draft, spec, preset=None, image=image, image_size=None)
