"""The job table: every change of a job is one transaction on disk, so any process may die at any moment.

`journal_mode=DELETE, synchronous=FULL`: SQLite before 3.51.3 can damage a write-ahead log when it is reset. Each call
opens its own connection, which makes the store safe to share between threads and costs well under a millisecond.
"""

from __future__ import annotations

import json
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from wan_pipeline.engine.progress import Progress, Stage
from wan_pipeline.errors import StorageError
from wan_pipeline.jobs.job import Finished, Job, JobState
from wan_pipeline.jobs.schema import migrate
from wan_pipeline.request import GenerationRequest

__all__ = ["Job", "JobState", "JobStore"]

MAX_ATTEMPTS = 2
BUSY_SECONDS = 30.0

_SELECT = """
    SELECT *, CASE WHEN state = 'queued' THEN
        (SELECT count(*) FROM jobs AS other WHERE other.state IN ('queued', 'running')
            AND other.number < jobs.number) ELSE 0 END AS jobs_ahead
    FROM jobs
"""


class JobStore:
    """Jobs of one workspace. Every method raises StorageError when the database cannot be read or written."""

    def __init__(self, database: Path) -> None:
        self._database = database
        with self._connection() as connection:
            connection.execute("PRAGMA journal_mode = DELETE")
            migrate(connection)

    # What the person asks for

    def submit(self, request: GenerationRequest) -> str:
        """Put a request at the end of the queue and give its job id."""
        job_id = uuid.uuid4().hex
        with self._transaction() as connection:
            connection.execute(
                "INSERT INTO jobs (id, state, model, request, created_at, stage) VALUES (?, ?, ?, ?, ?, ?)",
                (job_id, JobState.QUEUED, request.model, request.to_json(), _now(), Stage.QUEUED),
            )
        return job_id

    def cancel(self, job_id: str) -> None:
        """A waiting job is cancelled at once, a running one is asked to stop; a finished one stays as it is."""
        with self._transaction() as connection:
            _finish(connection, job_id, JobState.CANCELLED, JobState.QUEUED)
            connection.execute(
                "UPDATE jobs SET cancel_requested = 1 WHERE id = ? AND state = ?", (job_id, JobState.RUNNING)
            )

    # What can be seen

    def job(self, job_id: str) -> Job | None:
        jobs = self._jobs("WHERE id = ?", job_id)
        return jobs[0] if jobs else None

    def recent(self, limit: int) -> list[Job]:
        """The newest jobs in any state, newest first."""
        return self._jobs("ORDER BY number DESC LIMIT ?", limit)

    def active(self) -> list[Job]:
        """Waiting and running jobs in the order they are worked off."""
        return self._jobs("WHERE state IN ('queued', 'running') ORDER BY state = 'queued', number")

    def finished(self, model_id: str, limit: int) -> list[Job]:
        """The newest finished clips of a model: what the time estimate learns from."""
        return self._jobs("WHERE state = 'done' AND model = ? ORDER BY number DESC LIMIT ?", model_id, limit)

    def is_cancel_requested(self, job_id: str) -> bool:
        with self._connection() as connection:
            row = connection.execute("SELECT cancel_requested FROM jobs WHERE id = ?", (job_id,)).fetchone()
        return bool(row and row["cancel_requested"])

    # What the worker does

    def claim(self) -> Job | None:
        """Take the oldest waiting job, or None."""
        with self._transaction() as connection:
            row = connection.execute("SELECT id FROM jobs WHERE state = 'queued' ORDER BY number LIMIT 1").fetchone()
            if row is None:
                return None
            connection.execute(
                "UPDATE jobs SET state = ?, stage = ?, started_at = ?, attempts = attempts + 1, "
                "step = 0, total = 0, eta_seconds = NULL, preview_version = 0 WHERE id = ?",
                (JobState.RUNNING, Stage.LOADING, _now(), row["id"]),
            )
        return self.job(row["id"])

    def progress(self, job_id: str, progress: Progress, preview_version: int) -> None:
        with self._transaction() as connection:
            connection.execute(
                "UPDATE jobs SET stage = ?, step = ?, total = ?, eta_seconds = ?, preview_version = ? "
                "WHERE id = ? AND state = 'running'",
                (progress.stage, progress.step, progress.total, progress.eta_seconds, preview_version, job_id),
            )

    def finish(self, job_id: str, clip: Finished) -> None:
        """A running job is done. The files lie in the clips folder; only their names are kept, so it may move."""
        with self._transaction() as connection:
            done = {
                "clip": clip.clip.name,
                "poster": clip.poster.name,
                "frames_sha256": clip.frames_sha256,
                "seconds": json.dumps(clip.seconds),
                "warnings": json.dumps(clip.warnings),
            }
            _finish(connection, job_id, JobState.DONE, JobState.RUNNING, **done)

    def fail(self, job_id: str, error: str) -> None:
        with self._transaction() as connection:
            _finish(connection, job_id, JobState.FAILED, JobState.RUNNING, error=error)

    def mark_cancelled(self, job_id: str) -> None:
        with self._transaction() as connection:
            _finish(connection, job_id, JobState.CANCELLED, JobState.RUNNING)

    def release(self, job_id: str) -> None:
        """Give a running job back to the queue: its worker was asked to stop, which is not the job's fault."""
        with self._transaction() as connection:
            connection.execute(
                "UPDATE jobs SET state = 'queued', stage = 'queued', attempts = attempts - 1 "
                "WHERE id = ? AND state = 'running'",
                (job_id,),
            )

    def recover(self) -> list[Job]:
        """Settle the jobs that a dead worker left running, and give them as they are now.

        To be called by the holder of the worker lock only: then no running job has a living worker. Each goes back to
        the queue, unless it was to be cancelled or has killed MAX_ATTEMPTS workers.
        """
        with self._transaction() as connection:
            rows = connection.execute("SELECT * FROM jobs WHERE state = 'running'").fetchall()
            for row in rows:
                _settle(connection, row)
        return [job for row in rows if (job := self.job(row["id"]))]

    def attempts(self) -> int:
        """How many times any job has been taken up: it grows when a worker gets to work."""
        with self._connection() as connection:
            return int(connection.execute("SELECT coalesce(sum(attempts), 0) FROM jobs").fetchone()[0])

    def fail_waiting(self, error: str) -> None:
        """Fail every unfinished job: no worker can be started."""
        with self._transaction() as connection:
            connection.execute(
                "UPDATE jobs SET state = ?, error = ?, finished_at = ? WHERE state IN ('queued', 'running')",
                (JobState.FAILED, error, _now()),
            )

    # How the file is reached

    def _jobs(self, clause: str, *values: object) -> list[Job]:
        with self._connection() as connection:
            return [self._job(row) for row in connection.execute(f"{_SELECT} {clause}", values)]

    def _job(self, row: sqlite3.Row) -> Job:
        clips = self._database.parent / "clips"
        return Job(
            id=row["id"],
            state=JobState(row["state"]),
            request=GenerationRequest.from_json(row["request"]),
            created_at=datetime.fromisoformat(row["created_at"]),
            started_at=_time(row["started_at"]),
            finished_at=_time(row["finished_at"]),
            stage=Stage(row["stage"]),
            step=row["step"],
            total=row["total"],
            eta_seconds=row["eta_seconds"],
            preview_version=row["preview_version"],
            cancel_requested=bool(row["cancel_requested"]),
            attempts=row["attempts"],
            error=row["error"],
            clip=clips / row["clip"] if row["clip"] else None,
            poster=clips / row["poster"] if row["poster"] else None,
            frames_sha256=row["frames_sha256"],
            seconds=json.loads(row["seconds"]),
            warnings=tuple(json.loads(row["warnings"])),
            jobs_ahead=row["jobs_ahead"],
        )

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        try:
            self._database.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(self._database, timeout=BUSY_SECONDS, isolation_level=None)
            try:
                connection.row_factory = sqlite3.Row
                connection.execute("PRAGMA synchronous = FULL")
                yield connection
            finally:
                connection.close()
        except (sqlite3.Error, OSError) as error:
            raise StorageError(
                f"The job database {self._database} cannot be used ({error}); check that its folder is writable and "
                "its disk not full, or choose another with --workspace."
            ) from error

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._connection() as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield connection  # an error closes the connection, which rolls back
            connection.execute("COMMIT")


def _finish(connection: sqlite3.Connection, job_id: str, state: JobState, before: JobState, **values: Any) -> None:
    """Move a job from `before` to the final `state`; a job in another state is left alone."""
    values = {"state": state, "finished_at": _now(), **values}
    assignments = ", ".join(f"{name} = ?" for name in values)
    connection.execute(
        f"UPDATE jobs SET {assignments} WHERE id = ? AND state = ?",  # noqa: S608 (names come from this file)
        (*values.values(), job_id, before),
    )


def _settle(connection: sqlite3.Connection, row: sqlite3.Row) -> None:
    if row["cancel_requested"]:
        _finish(connection, row["id"], JobState.CANCELLED, JobState.RUNNING)
    elif row["attempts"] >= MAX_ATTEMPTS:
        error = (
            f"The worker process died {row['attempts']} times while making this clip, as it does when memory runs out; "
            "try a smaller size or fewer frames, and see logs/worker.log in the workspace."
        )
        _finish(connection, row["id"], JobState.FAILED, JobState.RUNNING, error=error)
    else:
        connection.execute("UPDATE jobs SET state = 'queued', stage = 'queued' WHERE id = ?", (row["id"],))


def _now() -> str:
    return datetime.now(UTC).isoformat()


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
