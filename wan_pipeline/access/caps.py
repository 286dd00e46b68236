"""Upper limits of a guest's clips, so that others' clips do not wait for them all day."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wan_pipeline.errors import UserError
from wan_pipeline.wording import plural

if TYPE_CHECKING:  # the server's entry point needs the caps and no requests
    from wan_pipeline.requests.request import GenerationRequest


@dataclass(frozen=True)
class Caps:
    """The caps of each `make` key. The owner has none."""

    max_pixels: int = 1280 * 720
    """Width times height."""
    max_seconds: float = 10.0
    """Length of a clip."""
    max_steps: int = 50
    max_waiting: int = 4
    """Clips that wait or run at a time."""
    minutes_a_day: float = 60.0
    """Minutes of computing in the last 24 hours."""
    max_queue: int | None = None
    """Clips of all that may wait or run; a guest's does not join a longer queue. None: no limit."""


@dataclass(frozen=True)
class Usage:
    """What a key has had so far."""

    clips: int
    waiting: int
    minutes_today: float
    """Minutes in the last 24 hours, with the estimates of waiting clips."""


def check_caps(request: GenerationRequest, caps: Caps) -> None:
    """Raise UserError for a clip that is larger than a guest may have."""
    if request.width * request.height > caps.max_pixels:
        raise UserError(
            f"{request.width} x {request.height} is more than guests may have here "
            f"({caps.max_pixels:,} pixels); choose a smaller size."
        )
    if request.seconds > caps.max_seconds:
        raise UserError(f"{request.seconds:.3g} s is longer than guests' clips may be; choose {caps.max_seconds:g} s.")
    if request.num_inference_steps > caps.max_steps:
        raise UserError(f"{request.num_inference_steps} steps are more than guests may have; use {caps.max_steps}.")


def check_usage(usage: Usage, minutes: float, caps: Caps, max_clips: int | None) -> None:
    """Raise UserError if a key's share is used up. `minutes` is the estimate of the clip that is asked for."""
    if max_clips is not None and usage.clips >= max_clips:
        raise UserError(f"This link was for {plural(max_clips, 'clip')}, which have been made; ask the owner for more.")
    if usage.waiting >= caps.max_waiting:
        raise UserError(f"{plural(usage.waiting, 'clip')} of yours are waiting, the most at a time; wait for one.")
    if usage.minutes_today + minutes > caps.minutes_a_day:
        raise UserError(
            f"This clip would take more than your {caps.minutes_a_day:g} minutes a day; try a shorter one, or tomorrow."
        )


def check_queue(unfinished: int, caps: Caps) -> None:
    """Raise UserError if the queue of all is longer than a guest may join."""
    if caps.max_queue is not None and unfinished >= caps.max_queue:
        raise UserError("The queue is full, and no more clips are taken; try again in a few minutes.")
