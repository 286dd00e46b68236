"""One job as the store gives it: a snapshot of a row."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from wan_pipeline.progress import Stage
from wan_pipeline.requests.request import GenerationRequest


class JobState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    INTERRUPTED = "interrupted"
    """A worker died with it. It is taken up again before anything else."""
    PAUSED = "paused"
    """Held by the person."""
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    QUARANTINED = "quarantined"
    """It has been running in every worker that died of it; only the person lets it try again."""


WAITING = (JobState.QUEUED, JobState.INTERRUPTED)
"""A worker will take these up."""
UNFINISHED = (JobState.RUNNING, *WAITING)
FINISHED = (JobState.DONE, JobState.FAILED, JobState.CANCELLED, JobState.QUARANTINED)


class EventKind(StrEnum):
    SUBMITTED = "submitted"
    STARTED = "started"
    """A worker has taken it up; the detail names the attempt and the process."""
    RESUMED = "resumed"
    """It goes on from a checkpoint; the detail names the step."""
    INTERRUPTED = "interrupted"
    HUNG = "hung"
    """Its worker lived, but did not work any more, and was ended."""
    RELEASED = "released"
    """Its worker was asked to stop and gave it back."""
    PLAN_LOWERED = "plan_lowered"
    DONE = "done"
    ADOPTED = "adopted"
    """A dead worker had made the clip; only the row was missing."""
    FAILED = "failed"
    CANCELLED = "cancelled"
    QUARANTINED = "quarantined"
    PAUSED = "paused"
    UNPAUSED = "unpaused"
    EDITED = "edited"
    MOVED = "moved"
    RETRIED = "retried"


@dataclass(frozen=True)
class Event:
    """Something that happened to a job."""

    id: int
    """Grows with time, also when the clock is set back."""
    job_id: str
    at: datetime
    """Aware UTC, for the person only."""
    kind: EventKind
    detail: str


@dataclass(frozen=True)
class QueueState:
    """The queue as a whole."""

    paused: bool
    """No further job is taken up."""
    stops_after_current: bool
    """It will be paused when the running job has ended."""
    heartbeat_at: datetime | None
    """When a worker last said that it lives, by the wall clock: for the person. None: never."""
    beats: int
    """Grows with each heartbeat. Who watches a worker times this with a clock of its own, which nobody sets back."""
    worker_pid: int | None
    """The process of the last heartbeat; whether it still lives is told by the worker lock alone."""
    worker_job: str | None


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
    """How many times a worker has taken it up, but for those it was given back by in good order."""
    error: str | None
    """One sentence for the person, when failed or quarantined."""
    clip: Path | None
    poster: Path | None
    frames_sha256: str | None
    seconds: dict[str, float]
    """What each stage took."""
    warnings: tuple[str, ...]
    """What was left out on the way, one sentence each."""
    jobs_ahead: int
    """Unfinished jobs that come first; 0 unless waiting."""
    position: float = 0.0
    """Smaller comes first."""
    project: str = ""
    plan: str = ""
    """The memory plan it is to be run with; empty: the engine's choice."""
    plan_steps_down: int = 0
    """How often memory ran out and a smaller plan was taken."""
    resumed_from: int = 0
    """The denoising step it went on from when it was last taken up; 0: from the start."""
    request_error: str | None = None
    """Why the stored request cannot be run here; `request` is then only what could be read of it."""

    @property
    def is_active(self) -> bool:
        return self.state in UNFINISHED
