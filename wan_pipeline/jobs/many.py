"""What a person does to several jobs at once, and how it is undone. Each change is one transaction."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from wan_pipeline.jobs.job import FINISHED, HELD_OR_WAITING, RETRIABLE, WAITING, EventKind, JobState
from wan_pipeline.jobs.table.rows import cancel_row, change_row, retry_row, sql_list
from wan_pipeline.storage.database import Database
from wan_pipeline.storage.main_app import CheckMainApp, main_app_only, unchecked


@dataclass(frozen=True)
class Cleared:
    """What was taken off the list."""

    count: int
    batch: int
    """For `ManyJobs.restore_cleared`."""


@dataclass(frozen=True)
class CancelledJobs:
    """What was cancelled."""

    states: Mapping[str, JobState]
    """States before, by id, of the jobs that were cancelled at once: for `ManyJobs.restore_cancelled`."""
    asked: int
    """How many run, and were asked to stop."""


class ManyJobs:
    """Changes to the jobs of these ids; others, and those that are in no state for it, stay as they are."""

    def __init__(self, database: Database, check_main_app: CheckMainApp = unchecked) -> None:
        self._database = database
        self._check_main_app = check_main_app

    @main_app_only
    def cancel(self, job_ids: Iterable[str]) -> CancelledJobs:
        """Cancel waiting and held jobs at once; ask running ones to stop."""
        with self._database.transaction() as connection:
            states = {job_id: state for job_id in job_ids if (state := _state(connection, job_id))}
            for job_id in states:
                cancel_row(connection, job_id)
        at_once = {job_id: state for job_id, state in states.items() if state in HELD_OR_WAITING}
        return CancelledJobs(at_once, sum(state is JobState.RUNNING for state in states.values()))

    @main_app_only
    def restore_cancelled(self, states: Mapping[str, JobState]) -> int:
        """Give cancelled jobs the states, waiting or held, and the places that they had. Returns how many.

        One that was retried since stays as it is, and one that was cleared comes back on the list.
        """
        cancelled = (JobState.CANCELLED,)
        with self._database.transaction() as connection:
            return sum(
                change_row(connection, job_id, cancelled, EventKind.RESTORED, state=state, finished_at=None, cleared=0)
                for job_id, state in states.items()
                if state in HELD_OR_WAITING
            )

    @main_app_only
    def hold(self, job_ids: Iterable[str]) -> int:
        """Hold waiting jobs; they keep their places. Returns how many."""
        return self._each(job_ids, partial(change_row, states=WAITING, kind=EventKind.PAUSED, state=JobState.PAUSED))

    @main_app_only
    def release(self, job_ids: Iterable[str]) -> int:
        """Release held jobs. Returns how many."""
        held = (JobState.PAUSED,)
        return self._each(job_ids, partial(change_row, states=held, kind=EventKind.UNPAUSED, state=JobState.QUEUED))

    @main_app_only
    def retry(self, job_ids: Iterable[str]) -> int:
        """Queue failed, cancelled and quarantined jobs again, at the end, in this order. Returns how many."""
        return self._each(job_ids, retry_row)

    @main_app_only
    def clear(self, job_ids: Sequence[str] | None = None, project: str | None = None) -> Cleared:
        """Take finished jobs, all, these or those of a project, off the list; their clips stay.

        They are hidden. Those without a clip are deleted by the clear after this one, with their histories; those with
        a clip stay in the table, for time estimates learn from them.
        """
        with self._database.transaction() as connection:
            batch = 1 + connection.execute("SELECT coalesce(max(cleared), 0) FROM jobs").fetchone()[0]
            _delete_cleared(connection)
            chosen = f"cleared = 0 AND state IN {sql_list(FINISHED)}"
            chosen += " AND (?2 IS NULL OR id IN (SELECT value FROM json_each(?2)))"
            ids = None if job_ids is None else json.dumps(list(job_ids))
            chosen += " AND (?3 IS NULL OR project = ?3)"
            statement = f"UPDATE jobs SET cleared = ?1 WHERE {chosen}"  # noqa: S608 (enum values)
            count = connection.execute(statement, (batch, ids, project)).rowcount
        return Cleared(count, batch)

    @main_app_only
    def restore_cleared(self, batch: int) -> int:
        """Put what one `clear` took off the list back on it. Returns how many jobs."""
        with self._database.transaction() as connection:
            return connection.execute(
                "UPDATE jobs SET cleared = 0 WHERE cleared = ? AND cleared > 0", (batch,)
            ).rowcount

    def _each(self, job_ids: Iterable[str], change: Callable[[sqlite3.Connection, str], bool]) -> int:
        with self._database.transaction() as connection:
            return sum(change(connection, job_id) for job_id in job_ids)


def _state(connection: sqlite3.Connection, job_id: str) -> JobState | None:
    row = connection.execute("SELECT state FROM jobs WHERE id = ?", (job_id,)).fetchone()
    return JobState(row["state"]) if row else None


def _delete_cleared(connection: sqlite3.Connection) -> None:
    """Delete for good what earlier clears have hidden and has no clip."""
    hidden = f"cleared > 0 AND state IN {sql_list(RETRIABLE)}"
    connection.execute(f"DELETE FROM events WHERE job_id IN (SELECT id FROM jobs WHERE {hidden})")  # noqa: S608
    connection.execute(f"DELETE FROM jobs WHERE {hidden}")  # noqa: S608 (enum values)
