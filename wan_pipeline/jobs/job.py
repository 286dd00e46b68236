"""One job as the store gives it: a snapshot of a row."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from wan_pipeline.engine.progress import Stage
from wan_pipeline.request import GenerationRequest


class JobState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class Finished:
    """A clip that lies on the disk, whole."""

    request: GenerationRequest
    clip: Path
    poster: Path
    receipt: Path
    frames_sha256: str
    """Of the decoded frames before encoding."""
    seconds: dict[str, float]
    """What each stage took."""
    warnings: tuple[str, ...] = ()
    """What was left out on the way, one sentence each."""


@dataclass(frozen=True)
class Job:
    """A request and what has become of it. Times are aware UTC."""

    id: str
    state: JobState
    request: GenerationRequest
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    stage: Stage
    step: int
    total: int
    """`step` of `total` steps of the stage are done; 0 of 0 where it has none."""
    eta_seconds: float | None
    """Until the stage is done."""
    preview_version: int
    """Counts the pictures written to the job's preview file; 0 means there is none yet."""
    cancel_requested: bool
    attempts: int
    """How many times a worker has taken it up."""
    error: str | None
    """One sentence for the person, when failed."""
    clip: Path | None
    poster: Path | None
    frames_sha256: str | None
    seconds: dict[str, float]
    """What each stage took."""
    warnings: tuple[str, ...]
    """What was left out on the way, one sentence each."""
    jobs_ahead: int
    """Unfinished jobs that come first; 0 unless waiting."""

    @property
    def is_active(self) -> bool:
        return self.state in (JobState.QUEUED, JobState.RUNNING)
