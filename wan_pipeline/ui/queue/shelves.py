"""The parts of the list of jobs, and what can be done to a job in each state."""

from __future__ import annotations

from dataclasses import dataclass

from wan_pipeline.jobs.job import HELD_OR_WAITING, PROBLEMS, JobState

PAGE_SIZE = 50
"""Jobs shown at once."""


@dataclass(frozen=True)
class Shelf:
    """One part of the list, and what it says when it is empty."""

    title: str
    states: tuple[JobState, ...]
    empty_title: str
    empty_text: str


SHELVES = {
    "next": Shelf(
        "Up next",
        HELD_OR_WAITING,
        "Nothing is waiting",
        "Add many clips above, or make one under Create. The queue keeps running when this page is closed.",
    ),
    "done": Shelf("Done", (JobState.DONE,), "Nothing done yet", "Finished clips are listed here and in the gallery."),
    "problems": Shelf(
        "Problems",
        PROBLEMS,
        "No problems",
        "Clips that fail are listed here with the reason.",
    ),
    "cancelled": Shelf("Cancelled", (JobState.CANCELLED,), "Nothing cancelled", "Clips that you stop are listed here."),
}

STATE_WORDS = {
    JobState.QUEUED: "Waiting",
    JobState.RUNNING: "Being made",
    JobState.INTERRUPTED: "Interrupted, resumes next",
    JobState.PAUSED: "Held",
    JobState.DONE: "Done",
    JobState.FAILED: "Failed",
    JobState.CANCELLED: "Cancelled",
    JobState.QUARANTINED: "Quarantined",
}

_MOVE_AND_EDIT = ("edit", "top", "up", "down", "duplicate", "history")
_ENDED = ("reuse", "duplicate", "history", "remove")
ACTIONS = {
    JobState.RUNNING: ("show", "cancel", "duplicate", "history"),
    JobState.QUEUED: ("hold", "cancel", *_MOVE_AND_EDIT),
    JobState.PAUSED: ("release", "cancel", *_MOVE_AND_EDIT),
    JobState.INTERRUPTED: ("hold", "cancel", "history"),
    JobState.DONE: _ENDED,
    **dict.fromkeys((*PROBLEMS, JobState.CANCELLED), ("retry", *_ENDED)),
}
"""What can be done to a job: names of `queue/actions.html`, handled by `QueueEvents.act`. The first two are icons."""
ACTIONS_OF_MANY = {
    "next": ("hold", "release", "cancel"),
    "done": ("remove",),
    "problems": ("retry", "remove"),
    "cancelled": ("retry", "remove"),
}
"""What can be done to the chosen jobs of a shelf."""


@dataclass(frozen=True)
class Selection:
    """Which jobs a browser tab shows: PAGE_SIZE of a shelf, from `offset` on."""

    shelf: str = "next"
    offset: int = 0
