"""A work on a clip that is made: what is to be done, and how far it is."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from wan_pipeline.jobs.handover.sound import SoundDraft
from wan_pipeline.progress import Stage
from wan_pipeline.requests.post_processing import UNCHANGED, PostProcessing


class WorkKind(StrEnum):
    SOUND = "sound"
    """A new clip with a sound that a model makes."""
    FRAMES = "frames"
    """A file with larger frames, or more of them."""


class WorkState(StrEnum):
    WAITING = "waiting"
    """For the queue to be idle, and for works before it."""
    WORKING = "working"
    DONE = "done"
    STOPPED = "stopped"
    FAILED = "failed"


UNFINISHED = (WorkState.WORKING, WorkState.WAITING)


@dataclass(frozen=True)
class WorkOrder:
    """What is to be made of a clip."""

    kind: WorkKind
    frames: PostProcessing = UNCHANGED
    sound: SoundDraft | None = None
    lufs: float | None = None
    """Loudness of the sound."""
    copy_to: str = ""
    """Folder that the file is copied to as well; empty for none."""


@dataclass(frozen=True)
class ClipWork:
    """How far a work is."""

    state: WorkState
    order: WorkOrder
    stage: Stage = Stage.QUEUED
    step: int = 0
    total: int = 0
    file: str | None = None
    """The path of what was made, once it is done: for sound a clip of the gallery."""
    clip: str = ""
    """The id of that clip in the gallery."""
    warnings: tuple[str, ...] = ()
    error: str | None = None
    """One sentence for the user, if it failed."""
    seconds: float = 0.0
    """What it took, without what it waited for."""
    pixels: int = 0
    """Of all frames of the file: what its seconds are measured by."""

    @property
    def is_over(self) -> bool:
        return self.state not in UNFINISHED
