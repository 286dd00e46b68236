"""A training as a snapshot of its database row."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from wan_pipeline.trainer.request import TrainingRequest


class TrainingState(StrEnum):
    WAITING = "waiting"
    TRAINING = "training"
    """A process works on it, or has died with it: only the trainer's lock says which."""
    PAUSED = "paused"
    """It gave way to the queue, and goes on from its saved state when the queue is idle."""
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


UNFINISHED = (TrainingState.TRAINING, TrainingState.PAUSED, TrainingState.WAITING)
"""Unfinished states, in order of work."""
RETRIABLE = (TrainingState.FAILED, TrainingState.CANCELLED)
SAMPLING = "making samples"
"""Beside the trainer's stages."""


@dataclass(frozen=True)
class TrainingResult:
    """What a finished training wrote. Stored as JSON."""

    lora: str
    """Name of the LoRA in the library."""
    steps: int
    loss: float
    """Mean of the last steps."""
    validation_loss: float | None
    seconds: float
    """Seconds of its last run, with preparation."""
    peak_memory_gib: float
    sha256: str = ""
    """Hash of the tensors; empty if its process died before it wrote this."""


@dataclass(frozen=True)
class TrainingJob:
    id: str
    state: TrainingState
    request: TrainingRequest
    prompts: tuple[str, ...]
    """Prompts of the samples at every checkpoint; without any, none are made."""
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    stage: str = ""
    """What its process does."""
    step: int = 0
    """Step of `total` within the stage; 0 of 0 where it has none."""
    total: int = 0
    eta_seconds: float | None = None
    step_seconds: float | None = None
    memory_gib: float | None = None
    note: str = ""
    """The memory plan and what it takes, once it is known."""
    cancel_requested: bool = False
    deaths: int = 0
    """Processes that died with it, one after another."""
    error: str | None = None
    """One sentence for the person, if it failed."""
    result: TrainingResult | None = None
    warnings: tuple[str, ...] = ()
    request_error: str | None = None
    """Why its request cannot be read; it is then one of default values."""

    @property
    def name(self) -> str:
        """Name of its LoRA."""
        return self.request.output

    @property
    def is_unfinished(self) -> bool:
        return self.state in UNFINISHED


@dataclass(frozen=True)
class Point:
    """One step of a training's curves."""

    step: int
    loss: float | None
    rate: float | None
    validation: float | None
