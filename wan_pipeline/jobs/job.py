"""A job, its events and the state of the queue, as snapshots of database rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from wan_pipeline.jobs.disk_space import NoRoom
from wan_pipeline.lora.applied import AppliedLora
from wan_pipeline.planning.devices import ONE_DEVICE, Devices
from wan_pipeline.progress import Stage
from wan_pipeline.requests.post_processing import UNCHANGED, PostProcessing
from wan_pipeline.requests.request import GenerationRequest


class JobState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    INTERRUPTED = "interrupted"
    """Its worker died. It is claimed again before any other job."""
    PAUSED = "paused"
    """Paused by the user."""
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    QUARANTINED = "quarantined"
    """Several workers died while running it. Only the user can retry it."""


RUNNING = (JobState.RUNNING,)
WAITING = (JobState.QUEUED, JobState.INTERRUPTED)
"""States that a worker claims."""
HELD_OR_WAITING = (*WAITING, JobState.PAUSED)
UNFINISHED = (*RUNNING, *WAITING)
PROBLEMS = (JobState.FAILED, JobState.QUARANTINED)
RETRIABLE = (*PROBLEMS, JobState.CANCELLED)
FINISHED = (JobState.DONE, *RETRIABLE)


class EventKind(StrEnum):
    SUBMITTED = "submitted"
    STARTED = "started"
    """A worker claimed it; the detail names the attempt and the process."""
    RESUMED = "resumed"
    """It resumed from a checkpoint; the detail names the step."""
    INTERRUPTED = "interrupted"
    HUNG = "hung"
    """Its worker hung and was ended."""
    RELEASED = "released"
    """Its worker was asked to stop, or a disk was full, and released it; the detail says which."""
    PLAN_LOWERED = "plan_lowered"
    DONE = "done"
    ADOPTED = "adopted"
    """Its clip was found complete on the disk; only the row was not up to date."""
    FAILED = "failed"
    CANCELLED = "cancelled"
    RESTORED = "restored"
    """Its cancel was undone."""
    QUARANTINED = "quarantined"
    PAUSED = "paused"
    UNPAUSED = "unpaused"
    EDITED = "edited"
    MOVED = "moved"
    RETRIED = "retried"


STARTS_AFRESH = (EventKind.SUBMITTED, EventKind.EDITED, EventKind.RETRIED)
"""What was done of the job before has no part in its clip."""
AFTER_DENOISING_BEGAN = "after denoising began"
"""In the detail of an event that put a running job back so late."""


@dataclass(frozen=True)
class Event:
    """An entry of a job's history."""

    id: int
    """Grows with time, even when the clock is set back."""
    at: datetime
    """Aware UTC. For display: order by `id`."""
    kind: EventKind
    detail: str


def has_lost_steps(history: Iterable[Event]) -> bool:
    """Whether a job was put back after denoising began, so that without a checkpoint it begins anew."""
    lost = False
    for event in history:
        lost = event.kind not in STARTS_AFRESH and (lost or AFTER_DENOISING_BEGAN in event.detail)
    return lost


@dataclass(frozen=True)
class QueueState:
    """State of the queue as a whole."""

    paused: bool
    """No further job is claimed."""
    stops_after_current: bool
    """It will be paused when the running job has ended."""
    beats: int
    """Count of heartbeats. A stall is measured by how long this does not change, by a monotonic clock."""
    worker_pid: int | None
    """Process of the last heartbeat. Only the worker lock says whether it is alive."""
    no_room: NoRoom | None = None
    """Why it is paused, if it is until a disk has room again."""
    pauses_now: bool = False
    """It was paused at once: the running job is to be given back."""
    is_ready: bool = False
    """Whether the worker of the last heartbeat has its engine ready."""
    loaded: str | None = None
    """Id of the model that it holds."""
    worker_starts: tuple[float, ...] = ()
    """Seconds that the newest workers took until then."""


STARTING = "starting"
"""Beside the stages in a job's seconds: what its worker's engine took to start after the job was claimed."""


@dataclass(frozen=True)
class Finished:
    """A clip that is on the disk with all its files."""

    request: GenerationRequest
    clip: Path
    poster: Path
    receipt: Path
    frames_sha256: str
    """SHA-256 of the decoded frames before encoding."""
    seconds: dict[str, float]
    """Seconds by stage."""
    warnings: tuple[str, ...] = ()
    """What was skipped or degraded, one sentence each."""
    loras: tuple[AppliedLora, ...] = ()
    devices: Devices = ONE_DEVICE
    """The devices that shared it."""


Names = Callable[[int, int], Iterator[str]]
"""Names for a clip, below the folder of clips and without an ending, by how many named jobs its project had, and by the
number of the take; 0 for a clip of no shot."""


@dataclass(frozen=True)
class Links:
    """What a new job belongs to beside its project."""

    shot: int = 0
    """Row number of its shot; 0 for none."""
    take: int = 0
    """The number that the take is to have in its shot; 0: the next."""
    final_of: str = ""
    """Id of the draft that it makes again as a final; empty for none."""


class NewJob(NamedTuple):
    """What is put into the queue."""

    request: GenerationRequest
    project: str = ""
    note: str = ""
    deterministic: bool = False
    made_by: str = ""
    """Id of the key of the guest who queues it; empty for the owner."""
    names: Names | None = None
    """Names for its clip: the first that no other job has is taken. None: the usual name."""
    output: str = ""
    """Folder that the finished clip is copied to; empty for none."""
    links: Links = Links()
    post_processing: PostProcessing = UNCHANGED
    """What is done to the frames of its clip, as another file, once it is made."""


@dataclass(frozen=True)
class Job:
    """A request and its state. Times are aware UTC."""

    id: str
    state: JobState
    request: GenerationRequest
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    stage: Stage
    step: int
    total: int
    """`step` of `total` steps of the stage are done; 0 of 0 for a stage without steps."""
    eta_seconds: float | None
    """Until the stage is done."""
    cancel_requested: bool
    attempts: int
    """Times a worker claimed it, not counting those in which the worker released it cleanly."""
    error: str | None
    """One sentence for the user, if failed or quarantined."""
    clip: Path | None
    poster: Path | None
    frames_sha256: str | None
    seconds: dict[str, float]
    """Seconds by stage."""
    warnings: tuple[str, ...]
    """What was skipped or degraded, one sentence each."""
    jobs_ahead: int | None
    """Unfinished jobs before it; 0 unless waiting, None for who may not know of others' jobs."""
    project: str = ""
    made_by: str = ""
    """Id of the key of the guest who queued it; empty for the owner's."""
    note: str = ""
    """The note that its clip gets in the gallery."""
    deterministic: bool = False
    """Rendered in deterministic mode."""
    clip_name: str = ""
    """Name of its clip by its project's template, below the folder of clips; empty for the usual name."""
    output: str = ""
    """Folder that the finished clip is copied to; empty for none."""
    plan: str = ""
    """Memory plan to run it with, as text; empty: the planner's choice."""
    devices: Devices = ONE_DEVICE
    """The devices that shared a finished one."""
    slot: int = 0
    """Which worker claimed it last."""
    plan_steps_down: int = 0
    """Times it ran out of memory and got a smaller plan."""
    post_processing: PostProcessing = UNCHANGED
    """What is done to the frames of its clip, as another file, once it is made."""
    resumed_from: int = 0
    """Denoising step it resumed from when it was last claimed; 0: from the start."""
    request_error: str | None = None
    """Why the stored request cannot be run; `request` then holds what could be read of it."""

    @property
    def is_active(self) -> bool:
        return self.state in UNFINISHED
