"""What the Undo button of a toast gives back: words that the toast carries, so that nothing is kept for it here."""

from __future__ import annotations

from collections.abc import Mapping

from wan_pipeline.jobs.job import HELD_OR_WAITING, JobState
from wan_pipeline.jobs.many import Cleared, ManyJobs

CLEARED = "cleared"
MAX_DIGITS = 12


def words_of_cancelled(states: Mapping[str, JobState]) -> list[str]:
    """For example: queued:JOB."""
    return [f"{state}:{job_id}" for job_id, state in states.items()]


def words_of_cleared(cleared: Cleared) -> list[str]:
    """For example: cleared:7."""
    return [f"{CLEARED}:{cleared.batch}"] if cleared.count else []


def undo(many: ManyJobs, text: str) -> int:
    """Give back what these words say. Returns how many jobs came back."""
    pairs = [(what, subject) for what, _, subject in (word.partition(":") for word in text.split())]
    states = {job_id: JobState(state) for state, job_id in pairs if state in HELD_OR_WAITING}
    numbers = [batch for what, batch in pairs if what == CLEARED and batch.isdecimal() and len(batch) <= MAX_DIGITS]
    return many.restore_cancelled(states) + sum(many.restore_cleared(int(number)) for number in numbers)
