"""The queue as a person changes it: submit, cancel, hold, move, edit, retry, pause."""

from __future__ import annotations

import json
import sqlite3
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from wan_pipeline.errors import UserError
from wan_pipeline.jobs.job import (
    FINISHED,
    HELD_OR_WAITING,
    PROBLEMS,
    RUNNING,
    EventKind,
    JobState,
    Names,
    NewJob,
)
from wan_pipeline.jobs.links import add_links, free_name, take_number
from wan_pipeline.jobs.many import ManyJobs
from wan_pipeline.jobs.table.reader import JobReader
from wan_pipeline.jobs.table.rows import (
    QueueKey,
    cancel_row,
    change_row,
    last_position,
    now,
    record_event,
    retry_row,
    set_setting,
    sql_list,
    update_job,
)
from wan_pipeline.progress import Stage
from wan_pipeline.requests.request import GenerationRequest
from wan_pipeline.storage.database import Database
from wan_pipeline.storage.files import storage_error
from wan_pipeline.storage.main_app import CheckMainApp, main_app_only, unchecked
from wan_pipeline.storage.outside import stored_time

_NO_WAIT = {QueueKey.NO_ROOM: "", QueueKey.PAUSE_NOW: "0"}


class QueueEditor:
    """Changes to the queue of one workspace. Every method raises StorageError when the database cannot be used.

    A viewer app may add jobs; changing existing ones raises LookingOnError there.
    """

    def __init__(self, database: Database, jobs: JobReader, check_main_app: CheckMainApp = unchecked) -> None:
        self._database = database
        self._jobs = jobs
        self.many = ManyJobs(database, check_main_app)
        self._check_main_app = check_main_app

    # One job

    def submit(self, request: GenerationRequest, project: str = "") -> str:
        """Append a request to the queue. Returns the job id."""
        with self._database.transaction() as connection:
            return _insert(connection, NewJob(request, project))

    def submit_many(self, jobs: Sequence[NewJob | tuple[GenerationRequest, str]]) -> list[str]:
        """Append jobs, or requests with their projects: all of them or, on an error, none. Returns the job ids."""
        with self._database.transaction() as connection:
            return [_insert(connection, NewJob(*job)) for job in jobs]

    def reserve_clip(self, names: Names, project: str, folder: Path) -> Path | None:
        """Create an empty MP4 below `folder` under the first free name, for a clip that no job makes.

        No job gets that name then: `names`, those of `NewJob`, pass over files that are there. None if there is no
        name. Raises StorageError.
        """
        with self._database.transaction() as connection:  # so that no job is queued in between
            if not (name := free_name(connection, names, "", project, 0)):
                return None
            clip = folder / f"{name}.mp4"
            try:
                clip.parent.mkdir(parents=True, exist_ok=True)
                clip.touch(exist_ok=False)
            except OSError as error:
                raise storage_error(clip.parent, error) from error
        return clip

    @main_app_only
    def cancel(self, job_id: str) -> None:
        """Cancel a waiting or held job at once; ask a running one to stop. A finished job stays as it is."""
        with self._database.transaction() as connection:
            cancel_row(connection, job_id)

    @main_app_only
    def pause(self, job_id: str) -> bool:
        """Hold a waiting job; it keeps its place. Returns whether it was waiting."""
        return bool(self.many.hold([job_id]))

    @main_app_only
    def unpause(self, job_id: str) -> bool:
        """Release a held job. Returns whether it was held."""
        return bool(self.many.release([job_id]))

    @main_app_only
    def edit(self, job_id: str, request: GenerationRequest, names: Names | None = None) -> None:
        """Give a waiting or held job another request; it keeps its place. Raises UserError if it is neither.

        `names` are those of `NewJob`. Its clip keeps its take, and its name unless a setting in the name has changed.
        """
        values: dict[str, Any] = {
            "request": request.to_json(),
            "model": request.model,
            "attempts": 0,
            "plan": "",
            "plan_steps_down": 0,
        }
        with self._database.transaction() as connection:
            job, take = self._jobs.existing(job_id), take_number(connection, job_id)
            values["clip_name"] = free_name(connection, names, job_id, job.project, take)
            is_changed = change_row(connection, job_id, HELD_OR_WAITING, EventKind.EDITED, **values)
        if not is_changed:
            state = self._jobs.existing(job_id).state
            raise UserError(f"Job {job_id[:8]} is {state}; only a waiting job can be changed: duplicate it instead.")

    @main_app_only
    def move(self, job_id: str, before: str | None) -> None:
        """Move a waiting or held job right before another, or to the end. No other model's job overtakes it then.

        Raises UserError if one of them is not waiting or held.
        """
        with self._database.transaction() as connection:
            _position(connection, job_id)
            position = last_position(connection) + 1 if before is None else _room_before(connection, before, job_id)
            update_job(connection, job_id, HELD_OR_WAITING, position=position, moved=1)
            record_event(connection, job_id, EventKind.MOVED, f"before {before}" if before else "to the end")

    @main_app_only
    def retry(self, job_id: str) -> bool:
        """Queue a failed, cancelled or quarantined job again, at the end. Returns whether it was one."""
        return bool(self.many.retry([job_id]))

    # Many jobs

    @main_app_only
    def retry_failed(self) -> int:
        """Retry all failed and quarantined jobs, in their old order. Returns how many."""
        with self._database.transaction() as connection:
            rows = connection.execute(
                f"SELECT id FROM jobs WHERE state IN {sql_list(PROBLEMS)} AND cleared = 0 ORDER BY position"  # noqa: S608
            ).fetchall()
            return sum(retry_row(connection, row["id"]) for row in rows)

    @main_app_only
    def cancel_all(self, project: str | None = None) -> int:
        """Cancel all jobs that run, wait or are held; those of a project, if it is given. Returns how many."""
        with self._database.transaction() as connection:
            rows = connection.execute(
                f"SELECT id FROM jobs WHERE state IN {sql_list((*RUNNING, *HELD_OR_WAITING))} "  # noqa: S608
                "AND (?1 IS NULL OR project = ?1)",
                (project,),
            ).fetchall()
            for row in rows:
                cancel_row(connection, row["id"])
        return len(rows)

    @main_app_only
    def clear_finished(self, project: str | None = None) -> int:
        """Take finished jobs off the list, all or those of a project; their clips stay. Returns how many."""
        return self.many.clear(project=project).count

    @main_app_only
    def forget(self, makers: str, before: datetime) -> list[str]:
        """Cancel or delete, with their history, the jobs queued earlier by guests whose ids begin with `makers`.

        Returns the ids of those deleted. One that runs is asked to stop, and is deleted the next time.
        """
        with self._database.connection() as connection:
            rows = connection.execute(
                "SELECT id, created_at FROM jobs WHERE substr(made_by, 1, ?) = ?", (len(makers), makers)
            ).fetchall()
        old = [row["id"] for row in rows if stored_time(row["created_at"]) < before]
        for job_id in old:
            self.cancel(job_id)
        ended = sql_list(FINISHED)
        with self._database.transaction() as connection:
            deleted = [
                job_id
                for job_id in old
                if connection.execute(f"DELETE FROM jobs WHERE id = ? AND state IN {ended}", (job_id,)).rowcount  # noqa: S608
            ]
            connection.executemany("DELETE FROM events WHERE job_id = ?", [(job_id,) for job_id in deleted])
        return deleted

    # The queue as a whole

    @main_app_only
    def pause_queue(self) -> None:
        """Claim no further job. A running one goes on."""
        self._set({QueueKey.PAUSED: "1", QueueKey.STOP_AFTER_CURRENT: "0", **_NO_WAIT})

    @main_app_only
    def pause_now(self) -> None:
        """Claim no further job, and put the running one back at its place, with its checkpoint.

        One whose frames are all made is finished.
        """
        self._set({QueueKey.PAUSED: "1", QueueKey.STOP_AFTER_CURRENT: "0", **_NO_WAIT, QueueKey.PAUSE_NOW: "1"})

    @main_app_only
    def resume_queue(self) -> None:
        """Go on, also where the queue waits for room on a disk."""
        self._set({QueueKey.PAUSED: "0", QueueKey.STOP_AFTER_CURRENT: "0", **_NO_WAIT})

    @main_app_only
    def stop_after_current(self) -> None:
        """Pause the queue when the running job has ended, or at once if none runs."""
        with self._database.transaction() as connection:
            running = connection.execute("SELECT 1 FROM jobs WHERE state IN ('running', 'interrupted')").fetchone()
            set_setting(connection, QueueKey.STOP_AFTER_CURRENT if running else QueueKey.PAUSED, "1")
            set_setting(connection, QueueKey.NO_ROOM, "")

    def _set(self, values: Mapping[QueueKey, str]) -> None:
        with self._database.transaction() as connection:
            for key, value in values.items():
                set_setting(connection, key, value)


def _insert(connection: sqlite3.Connection, job: NewJob) -> str:
    job_id = uuid.uuid4().hex
    take = add_links(connection, job_id, job.links)
    connection.execute(
        "INSERT INTO jobs (id, state, model, request, created_at, stage, position, project, note, deterministic, "
        "made_by, clip_name, output, post_processing) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *(job_id, JobState.QUEUED, job.request.model, job.request.to_json(), now(), Stage.QUEUED),
            *(last_position(connection) + 1, job.project, job.note, job.deterministic, job.made_by),
            *(free_name(connection, job.names, job_id, job.project, take), job.output),
            json.dumps(asdict(job.post_processing)),
        ),
    )
    record_event(connection, job_id, EventKind.SUBMITTED)
    return job_id


def _position(connection: sqlite3.Connection, job_id: str) -> float:
    row = connection.execute(
        f"SELECT position FROM jobs WHERE id = ? AND state IN {sql_list(HELD_OR_WAITING)}",  # noqa: S608 (enum values)
        (job_id,),
    ).fetchone()
    if row is None:
        raise UserError(f"Job {job_id[:8]} is not waiting any more, so it has no place in the queue; look at the list.")
    return float(row["position"])


def _room_before(connection: sqlite3.Connection, job_id: str, moving: str) -> float:
    """A position between a job and the one before it. When two are too close, all are numbered again."""
    place = _position(connection, job_id)
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
