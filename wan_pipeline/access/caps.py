"""What a guest may use of the machine, and the check of a request against it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from wan_pipeline.errors import AccessError
from wan_pipeline.requests.request import GenerationRequest
from wan_pipeline.wording import duration


@dataclass(frozen=True)
class Caps:
    """Limits of one `make` key. 0 means none."""

    max_pixels: Annotated[int, Field(ge=0, le=2**24)] = 1280 * 720
    """Of a frame."""
    max_frames: Annotated[int, Field(ge=0, le=10_000)] = 121
    max_steps: Annotated[int, Field(ge=0, le=1000)] = 60
    max_waiting: Annotated[int, Field(ge=0, le=10_000)] = 8
    """Clips of the key in the queue at a time."""
    minutes_a_day: Annotated[int, Field(ge=0, le=1440)] = 240
    """Of rendering, as estimated, over the last 24 hours."""
    max_clips: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    """Clips over the key's whole life."""


@dataclass(frozen=True)
class Usage:
    """What a key has used."""

    waiting: int
    """Clips that run or wait."""
    minutes_today: float
    """Of rendering over the last 24 hours, waiting clips included as estimated."""
    clips: int
    """Over the key's whole life."""


def check_request(request: GenerationRequest, caps: Caps) -> None:
    """Raise AccessError for a clip larger, longer or slower than the key allows."""
    asked = {
        f"{request.width} x {request.height} pixels": (request.width * request.height, caps.max_pixels),
        f"{request.num_frames} frames": (request.num_frames, caps.max_frames),
        f"{request.num_inference_steps} steps": (request.num_inference_steps, caps.max_steps),
    }
    for what, (value, cap) in asked.items():
        if cap and value > cap:
            limit = f"{cap:,} pixels a frame" if cap == caps.max_pixels else f"{cap}"
            raise AccessError(f"{what} are more than your key allows ({limit}); ask for less.")


def check_usage(usage: Usage, seconds: float, caps: Caps) -> None:
    """Raise AccessError if the key has used up what it may. `seconds` is the estimate of the new clip."""
    if caps.max_clips and usage.clips >= caps.max_clips:
        raise AccessError(f"Your key's {caps.max_clips} clips are made; ask the studio's owner for more.")
    if caps.max_waiting and usage.waiting >= caps.max_waiting:
        raise AccessError(f"{usage.waiting} of your clips are waiting, the most at a time; wait until one is done.")
    if caps.minutes_a_day and usage.minutes_today + seconds / 60 > caps.minutes_a_day:
        raise AccessError(
            f"This clip takes about {duration(seconds)}, and your key may use {caps.minutes_a_day} minutes a day, of "
            f"which {usage.minutes_today:.0f} are used; come back tomorrow or ask for a smaller clip."
        )
