"""What stands in place of a clip on the stage: a sentence for each state that a job can be in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

from wan_pipeline.jobs.job import Job, JobState
from wan_pipeline.wording import plural


@dataclass(frozen=True)
class InPlace:
    """A title, a sentence, and perhaps a button."""

    title: str
    text: str
    kind: str = ""
    """"failed" is an alert; "waiting" has a sign that it goes on."""
    act: str = ""
    """What the button does, for `StageEvents.act`; empty without one."""
    label: str = ""
    icon: str = ""


def in_place(job: Job, *, is_binned: bool, is_paused: bool) -> InPlace | None:
    """None for a job that runs, and for a finished one whose clip is there.

    `is_binned`: its clip is in the bin. `is_paused`: the queue as a whole is.
    """
    again = ("retry", "Try again", "retry")
    said: InPlace | None
    match job.state:
        case JobState.RUNNING:
            said = None
        case JobState.QUEUED:
            said = InPlace("In the queue", _before(job, is_paused), "waiting")
        case JobState.INTERRUPTED:
            said = InPlace("Interrupted", f"{_why_interrupted(job)} {_before(job, is_paused)}", "waiting")
        case JobState.PAUSED:
            text = "It waits at its place in the queue until you release it."
            said = InPlace("Held", text, "", "release", "Release", "play")
        case JobState.CANCELLED:
            said = InPlace("Cancelled", "Nothing of this clip was saved.", "", *again)
        case JobState.FAILED:
            text = job.error or "The worker ended without an error message; its log in the workspace may say why."
            said = InPlace("This clip failed", text, "failed", *again)
        case JobState.QUARANTINED:
            text = job.error or "Its worker process died each time. The queue goes on without it."
            said = InPlace("Quarantined", text, "failed", *again)
        case JobState.DONE:
            said = None if job.clip else _without_clip(is_binned)
        case state:
            assert_never(state)
    return said


def _without_clip(is_binned: bool) -> InPlace:
    if is_binned:
        text = "It can be put back until the bin is emptied."
        return InPlace("This clip is in the bin", text, "", "unbin", "Put back", "restore")
    text = "Its file is no longer in the workspace; its settings are still here."
    return InPlace("This clip is gone", text, "failed")


def _before(job: Job, is_paused: bool) -> str:
    if is_paused:
        return "The queue is paused; it starts when you resume it."
    return f"{plural(job.jobs_ahead, 'clip')} before it." if job.jobs_ahead else "It starts in a moment."


def _why_interrupted(job: Job) -> str:
    if job.plan_steps_down:
        return f"Memory ran out; it goes on with the smaller memory plan “{job.plan}”."
    return "Its worker process ended; it goes on from its last checkpoint."
