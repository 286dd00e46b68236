"""The job table with all that may be asked of it: `JobTable` looks, `WorkTable` works, here the person decides."""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Sequence

from wan_pipeline.errors import UserError
from wan_pipeline.jobs.job import WAITING, EventKind, Job, JobState
from wan_pipeline.jobs.reader import change, note, now, put, sql_list
from wan_pipeline.jobs.worker_queue import MAX_ATTEMPTS, WorkTable
from wan_pipeline.progress import Stage
from wan_pipeline.requests.request import GenerationRequest

__all__ = ["MAX_ATTEMPTS", "Job", "JobState", "JobStore"]

HELD_OR_WAITING = (*WAITING, JobState.PAUSED)
RETRIABLE = (JobState.FAILED, JobState.QUARANTINED, JobState.CANCELLED)


class JobStore(WorkTable):
    """Jobs of one workspace. Every method raises StorageError when the database cannot be read or written."""

    # One job

    def submit(self, request: GenerationRequest, project: str = "", *, paused: bool = False) -> str:
        """Put a request at the end of the queue, held if `paused`, and give its job id."""
        with self._database.transaction() as connection:
            return _insert(connection, request, project, JobState.PAUSED if paused else JobState.QUEUED)

    def submit_many(self, requests: Sequence[tuple[GenerationRequest, str]]) -> list[str]:
        """Put requests, each with its project, at the end of the queue: all of them or, when it fails, none."""
        with self._database.transaction() as connection:
            return [_insert(connection, request, project) for request, project in requests]

    def duplicate(self, job_id: str) -> str:
        """Queue the same clip again and give the new job's id. Raises UserError if there is no such job."""
        job = self._readable(job_id)
        return self.submit(job.request, job.project)

    def cancel(self, job_id: str) -> None:
        """A waiting or held job is cancelled at once, a running one asked to stop; a finished one stays as it is."""
        with self._database.transaction() as connection:
            if change(connection, job_id, HELD_OR_WAITING, state=JobState.CANCELLED, finished_at=now()):
                note(connection, job_id, EventKind.CANCELLED)
            else:
                change(connection, job_id, (JobState.RUNNING,), cancel_requested=1)

    def pause(self, job_id: str) -> bool:
        """Hold a waiting job, at its place in the queue. Whether it was waiting."""
        return self._change(job_id, WAITING, EventKind.PAUSED, state=JobState.PAUSED)

    def unpause(self, job_id: str) -> bool:
        """Let a held job go on waiting. Whether it was held."""
        return self._change(job_id, (JobState.PAUSED,), EventKind.UNPAUSED, state=JobState.QUEUED)

    def edit(self, job_id: str, request: GenerationRequest) -> None:
        """Give a waiting or held job other settings; it keeps its place. Raises UserError if it is neither."""
        values = {"request": request.to_json(), "model": request.model, "attempts": 0, "plan": "", "plan_steps_down": 0}
        if not self._change(job_id, HELD_OR_WAITING, EventKind.EDITED, **values):
            state = self._existing(job_id).state
            raise UserError(f"Job {job_id[:8]} is {state}; only a waiting job can be changed: duplicate it instead.")

    def move(self, job_id: str, before: str | None) -> None:
        """Put a waiting or held job right before another, or at the end. From then on no other model's job passes it.

        Raises UserError if one of them is not waiting or held.
        """
        with self._database.transaction() as connection:
            _place_of(connection, job_id)
            position = _last(connection) + 1 if before is None else _room_before(connection, before, job_id)
            change(connection, job_id, HELD_OR_WAITING, position=position, moved=1)
            note(connection, job_id, EventKind.MOVED, f"before {before}" if before else "to the end")

    def retry(self, job_id: str) -> bool:
        """Let a job that failed, was cancelled or is quarantined start afresh, at the end. Whether it was one."""
        with self._database.transaction() as connection:
            return _retry(connection, job_id)

    # Many jobs

    def retry_failed(self) -> int:
        """Retry all that failed or are quarantined, in their old order. How many."""
        with self._database.transaction() as connection:
            rows = connection.execute(
                "SELECT id FROM jobs WHERE state IN ('failed', 'quarantined') AND cleared = 0 ORDER BY position"
            ).fetchall()
            return sum(_retry(connection, row["id"]) for row in rows)

    def clear_finished(self) -> int:
        """Take finished jobs off the list; their clips stay. How many.

        Those with a clip stay in the table, unseen: time estimates learn from them.
        """
        without_clip = sql_list(RETRIABLE)
        with self._database.transaction() as connection:
            connection.execute(
                f"DELETE FROM events WHERE job_id IN (SELECT id FROM jobs WHERE state IN {without_clip})"  # noqa: S608
            )
            gone = connection.execute(f"DELETE FROM jobs WHERE state IN {without_clip}").rowcount  # noqa: S608
            hidden = connection.execute("UPDATE jobs SET cleared = 1 WHERE state = 'done' AND cleared = 0").rowcount
        return gone + hidden

    # The queue as a whole

    def pause_queue(self) -> None:
        """Take up no further job. What runs goes on."""
        self._set_queue(paused="1", stop_after_current="0")

    def resume_queue(self) -> None:
        self._set_queue(paused="0", stop_after_current="0")

    def stop_after_current(self) -> None:
        """Pause the queue when the running job has ended, or at once if none runs."""
        with self._database.transaction() as connection:
            running = connection.execute("SELECT 1 FROM jobs WHERE state IN ('running', 'interrupted')").fetchone()
            put(connection, "stop_after_current" if running else "paused", "1")

    def _set_queue(self, **values: str) -> None:
        with self._database.transaction() as connection:
            for key, value in values.items():
                put(connection, key, value)

    def _change(self, job_id: str, before: tuple[JobState, ...], kind: EventKind, **values: object) -> bool:
        with self._database.transaction() as connection:
            changed = change(connection, job_id, before, **values)
            if changed:
                note(connection, job_id, kind)
            return changed

    def _existing(self, job_id: str) -> Job:
        job = self.job(job_id)
        if job is None:
            raise UserError(f"There is no job {job_id[:8]}; choose one from the list.")
        return job

    def _readable(self, job_id: str) -> Job:
        job = self._existing(job_id)
        if job.request_error:
            raise UserError(job.request_error)
        return job


def _insert(
    connection: sqlite3.Connection, request: GenerationRequest, project: str, state: JobState = JobState.QUEUED
) -> str:
    job_id = uuid.uuid4().hex
    connection.execute(
        "INSERT INTO jobs (id, state, model, request, created_at, stage, position, project) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (job_id, state, request.model, request.to_json(), now(), Stage.QUEUED, _last(connection) + 1, project),
    )
    note(connection, job_id, EventKind.SUBMITTED, "held" if state is JobState.PAUSED else "")
    return job_id


def _retry(connection: sqlite3.Connection, job_id: str) -> bool:
    fresh = {
        "state": JobState.QUEUED,
        "stage": Stage.QUEUED,
        "position": _last(connection) + 1,
        "attempts": 0,
        "cancel_requested": 0,
        "error": None,
        "started_at": None,
        "finished_at": None,
        "plan": "",
        "plan_steps_down": 0,
        "resumed_from": 0,
        "moved": 0,
        "overtaken": 0,
    }
    changed = change(connection, job_id, RETRIABLE, **fresh)
    if changed:
        note(connection, job_id, EventKind.RETRIED)
    return changed


def _last(connection: sqlite3.Connection) -> float:
    return float(connection.execute("SELECT coalesce(max(position), 0) FROM jobs").fetchone()[0])


def _place_of(connection: sqlite3.Connection, job_id: str) -> float:
    row = connection.execute(
        f"SELECT position FROM jobs WHERE id = ? AND state IN {sql_list(HELD_OR_WAITING)}",  # noqa: S608 (our words)
        (job_id,),
    ).fetchone()
    if row is None:
        raise UserError(f"Job {job_id[:8]} is not waiting any more, so it has no place in the queue; look at the list.")
    return float(row["position"])


def _room_before(connection: sqlite3.Connection, job_id: str, moving: str) -> float:
    """A position between a job and the one before it. When numbers get too close, all are set apart again."""
    place = _place_of(connection, job_id)
    row = connection.execute(
        "SELECT max(position) FROM jobs WHERE position < ? AND id != ?", (place, moving)
    ).fetchone()
    earlier = place - 1 if row[0] is None else row[0]
    middle = float((earlier + place) / 2)
    if earlier < middle < place:
        return middle
    connection.execute(
        "UPDATE jobs SET position = line.place FROM "
        "(SELECT number, row_number() OVER (ORDER BY position, number) AS place FROM jobs) AS line "
        "WHERE jobs.number = line.number"
    )
    return _room_before(connection, job_id, moving)
