"""A job as a row of the list."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from wan_pipeline.jobs.job import Job, JobState
from wan_pipeline.ui.common.names import Names
from wan_pipeline.ui.common.templates import clip_length, frame_size
from wan_pipeline.ui.queue.shelves import ACTIONS, SHELVES, STATE_WORDS
from wan_pipeline.wording import duration


@dataclass(frozen=True)
class Row:
    """What `queue/rows.html` shows of a job."""

    job: Job
    place: int
    """Position in its list, from 1."""
    facts: str
    """Its main settings in one line."""
    picture: Path | None = None
    """A small one of its input picture."""

    @property
    def state(self) -> str:
        return STATE_WORDS[self.job.state]

    @property
    def actions(self) -> tuple[str, ...]:
        return ACTIONS[self.job.state]

    @property
    def can_move(self) -> bool:
        return "up" in self.actions

    @property
    def is_unfinished(self) -> bool:
        return self.job.state in SHELVES["next"].states

    @property
    def has_failed(self) -> bool:
        return self.job.state in SHELVES["problems"].states

    @property
    def poster(self) -> Path | None:
        """The poster of a finished clip, if its file is still there."""
        is_shown = self.job.state is JobState.DONE and self.job.poster and self.job.poster.is_file()
        return self.job.poster if is_shown else None

    @property
    def icon(self) -> str:
        """Placeholder where there is no picture."""
        if self.has_failed:
            return "retry"
        return {JobState.PAUSED: "pause", JobState.CANCELLED: "close"}.get(self.job.state, "frame")

    @property
    def finished(self) -> str:
        """When, and how long a clip that is done took; empty before."""
        job = self.job
        if job.finished_at is None:
            return ""
        at = job.finished_at.astimezone()
        if job.state is JobState.DONE and job.started_at:
            taken = max((job.finished_at - job.started_at).total_seconds(), 0.0)  # the clock may have been set back
            return f"{at:%H:%M}, in {duration(taken)}"
        return f"{at:%d %b, %H:%M}"


def facts_line(names: Names, job: Job) -> str:
    """The main settings of a job."""
    request = job.request
    facts = (
        names.preset(request.preset),
        frame_size(request),
        clip_length(request),
        f"{request.num_inference_steps} steps",
        f"seed {request.seed}",
        names.model(request.model),
        *(f"{lora.name} {lora.strength}" for lora in request.loras),
        job.project,
    )
    return " · ".join(fact for fact in facts if fact)
