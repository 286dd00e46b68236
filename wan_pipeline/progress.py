"""How long work reports its progress, how often, and how it is asked to stop. No torch."""

from __future__ import annotations

import time
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from wan_pipeline.errors import Cancelled

if TYPE_CHECKING:  # the command line's --help needs the stages and no arrays
    import numpy as np
    from numpy.typing import NDArray


class Stage(StrEnum):
    QUEUED = "queued"
    LOADING = "loading"
    ENCODING_TEXT = "encoding text"
    DENOISING = "denoising"
    DECODING = "decoding"
    SAVING = "saving"


@dataclass(frozen=True)
class Progress:
    """One moment of a job. `step` of `total` counts finished steps within the stage; 0 of 0 where it has none."""

    stage: Stage
    step: int = 0
    total: int = 0
    eta_seconds: float | None = None
    """Until the stage is done."""
    preview: NDArray[np.uint8] | None = None
    """What the clip will look like, (latent frames, height, width, 3); one frame per `temporal_compression` frames."""


class Cancellable(Protocol):
    def cancelled(self) -> bool: ...


class Observer(Cancellable, Protocol):
    def progress(self, progress: Progress) -> None: ...


class Throttle:
    """Limits how often something is done."""

    def __init__(self, seconds: float, *, is_due_at_first: bool = True) -> None:
        self._seconds = seconds
        self._last = float("-inf") if is_due_at_first else time.monotonic()

    def is_due(self) -> bool:
        """True at most once in `seconds`."""
        now = time.monotonic()
        if now - self._last < self._seconds:
            return False
        self._last = now
        return True


def check_cancelled(observer: Cancellable, work: str = "clip") -> None:
    """Raise Cancelled if the observer asks for it. `work` is the word for what it stops."""
    if observer.cancelled():
        raise Cancelled(f"The {work} was cancelled.")


class SilentObserver:
    """An observer that reports nothing and never cancels."""

    def progress(self, progress: Progress) -> None:
        pass

    def cancelled(self) -> bool:
        return False
