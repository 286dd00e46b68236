"""The progress of a training, and how it is asked to stop. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from wan_pipeline.progress import Cancellable, Progress


class TrainingStage(StrEnum):
    WAITING = "waiting for the device, which another clip or training has"
    CHECKING = "checking the dataset"
    REGULARISING = "making clips with the base model"
    ENCODING_TEXT = "encoding captions"
    ENCODING = "encoding images"
    LOADING = "loading"
    TRAINING = "training"
    VALIDATING = "validating"


@dataclass(frozen=True)
class TrainingProgress:
    """One moment. `step` of `total` counts what is done within the stage; 0 of 0 where it has no steps."""

    stage: TrainingStage
    step: int = 0
    total: int = 0
    eta_seconds: float | None = None
    """Until the stage is done."""
    loss: float | None = None
    """Mean of the last steps."""
    rate: float | None = None
    """Learning rate."""
    note: str = ""
    """The memory plan and what it will take, once it is known."""
    step_loss: float | None = None
    """Loss of this step alone."""
    step_seconds: float | None = None
    """Mean time of a step."""
    memory_gib: float | None = None
    """The most memory in use so far, of the device or of the process where there is none."""
    validation: float | None = None
    """Loss of the held-out stills after this step, where it was measured."""


class TrainingObserver(Cancellable, Protocol):
    def progress(self, progress: TrainingProgress) -> None: ...


class CaptionsObserver:
    """Passes the engine's progress of encoding texts to a training's observer."""

    def __init__(self, observer: TrainingObserver) -> None:
        self._observer = observer

    def progress(self, progress: Progress) -> None:
        told = TrainingProgress(TrainingStage.ENCODING_TEXT, progress.step, progress.total, progress.eta_seconds)
        self._observer.progress(told)

    def cancelled(self) -> bool:
        return self._observer.cancelled()
