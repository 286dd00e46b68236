"""The job table as it is read, and the few statements that all who write to it share."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from wan_pipeline.errors import UserError
from wan_pipeline.jobs.job import FINISHED, UNFINISHED, WAITING, Event, EventKind, Job, JobState, QueueState
from wan_pipeline.progress import Stage
from wan_pipeline.requests.stored import read_request
from wan_pipeline.storage.database import Database


def sql_list(states: Collection[JobState]) -> str:
    """('queued', 'running'): for `IN`. The states are this program's own words."""
    return f"({', '.join(repr(state.value) for state in states)})"


ORDER_OF_WORK = "state != 'running', state != 'interrupted', position"
_LIST_ORDER = (
    f"state != 'running', state != 'interrupted', state IN {sql_list(FINISHED)}, "
    f"CASE WHEN state IN {sql_list(FINISHED)} THEN -jobs.number ELSE position END"
)
_SELECT = f"""
    WITH line AS MATERIALIZED (
        SELECT number, row_number() OVER (ORDER BY {ORDER_OF_WORK}) - 1 AS ahead
        FROM jobs WHERE state IN {sql_list(UNFINISHED)}
    )
    SELECT jobs.*, CASE WHEN state IN {sql_list(WAITING)} THEN line.ahead ELSE 0 END AS jobs_ahead
    FROM jobs LEFT JOIN line USING (number)
"""  # noqa: S608 (made of this file's own words)


class JobTable:
    """Jobs of one workspace, to look at. Every method raises StorageError when the database cannot be used."""

    def __init__(self, database: Path) -> None:
        self._database = Database(database)
        self._clips = database.parent / "clips"

    def job(self, job_id: str) -> Job | None:
        jobs = self._jobs("WHERE id = ?", job_id)
        return jobs[0] if jobs else None

    def find(self, start: str) -> str:
        """The id that begins like this. Raises UserError unless there is exactly one such job."""
        with self._database.connection() as connection:
            rows = connection.execute(
                "SELECT id FROM jobs WHERE substr(id, 1, length(?1)) = ?1 AND cleared = 0 LIMIT 2", (start.strip(),)
            ).fetchall()
        if len(rows) != 1 or not start.strip():
            found = "More than one job's id begins" if rows else "No job's id begins"
            raise UserError(f"{found} with '{start[:40]}'; take one from the list, or more of its characters.")
        return str(rows[0]["id"])

    def jobs(self, states: Collection[JobState] | None = None, offset: int = 0, limit: int = 50) -> list[Job]:
        """A page of the list: running, interrupted, then waiting and held in order of work, then the newest finished.

        `states` None: all. Jobs that were cleared away are left out.
        """
        chosen = sql_list(states if states is not None else tuple(JobState))
        page = (
            f"SELECT number FROM jobs WHERE cleared = 0 AND state IN {chosen} ORDER BY {_LIST_ORDER} LIMIT ? OFFSET ?"  # noqa: S608
        )
        return self._jobs(f"WHERE jobs.number IN ({page}) ORDER BY {_LIST_ORDER}", limit, offset)

    def recent(self, limit: int) -> list[Job]:
        """The newest jobs in any state, newest first."""
        return self._jobs("WHERE cleared = 0 ORDER BY number DESC LIMIT ?", limit)

    def active(self) -> list[Job]:
        """Waiting and running jobs in the order they are worked off."""
        return self._jobs(f"WHERE state IN {sql_list(UNFINISHED)} ORDER BY {ORDER_OF_WORK}")

    def waiting(self, limit: int) -> list[Job]:
        """The next jobs to be taken up, in order, but for those that `claim` groups by model."""
        return self._jobs(f"WHERE state IN {sql_list(WAITING)} ORDER BY {ORDER_OF_WORK} LIMIT ?", limit)

    def finished(self, model_id: str, limit: int) -> list[Job]:
        """The newest finished clips of a model, cleared or not: what the time estimate learns from."""
        return self._jobs("WHERE state = 'done' AND model = ? ORDER BY number DESC LIMIT ?", model_id, limit)

    def counts(self) -> dict[JobState, int]:
        """How many jobs the list holds in each state, also where there are none."""
        with self._database.connection() as connection:
            rows = connection.execute("SELECT state, count(*) FROM jobs WHERE cleared = 0 GROUP BY state").fetchall()
        return dict.fromkeys(JobState, 0) | {JobState(state): count for state, count in rows}

    def unfinished(self) -> int:
        """How many jobs run or wait."""
        counts = self.counts()
        return sum(counts[state] for state in UNFINISHED)

    def events(self, job_id: str) -> list[Event]:
        """What has happened to a job, oldest first."""
        with self._database.connection() as connection:
            rows = connection.execute("SELECT * FROM events WHERE job_id = ? ORDER BY id", (job_id,)).fetchall()
        return [
            Event(row["id"], job_id, datetime.fromisoformat(row["at"]), EventKind(row["kind"]), row["detail"])
            for row in rows
        ]

    def queue_state(self) -> QueueState:
        with self._database.connection() as connection:
            values = dict(connection.execute("SELECT key, value FROM queue").fetchall())
        beat = json.loads(values.get("heartbeat", "{}"))
        return QueueState(
            paused=values.get("paused") == "1",
            stops_after_current=values.get("stop_after_current") == "1",
            heartbeat_at=_time(beat.get("at")),
            beats=beat.get("count", 0),
            worker_pid=beat.get("pid"),
            worker_job=beat.get("job"),
        )

    def starts(self) -> int:
        """How many times any job has been taken up: it grows when a worker gets to work, and never shrinks."""
        with self._database.connection() as connection:
            return int(get(connection, "starts", "0"))

    def _jobs(self, clause: str, *values: object) -> list[Job]:
        with self._database.connection() as connection:
            return [self._job(row) for row in connection.execute(f"{_SELECT} {clause}", values)]

    def _job(self, row: sqlite3.Row) -> Job:
        request, request_error = read_request(row["request"])
        return Job(
            id=row["id"],
            state=JobState(row["state"]),
            request=request,
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
            clip=self._clips / row["clip"] if row["clip"] else None,
            poster=self._clips / row["poster"] if row["poster"] else None,
            frames_sha256=row["frames_sha256"],
            seconds=json.loads(row["seconds"]),
            warnings=tuple(json.loads(row["warnings"])),
            jobs_ahead=row["jobs_ahead"],
            position=row["position"],
            project=row["project"],
            plan=row["plan"],
            plan_steps_down=row["plan_steps_down"],
            resumed_from=row["resumed_from"],
            request_error=request_error,
        )


# Statements for use within a transaction


def note(connection: sqlite3.Connection, job_id: str, kind: EventKind, detail: str = "") -> None:
    """Write an event."""
    connection.execute(
        "INSERT INTO events (job_id, at, kind, detail) VALUES (?, ?, ?, ?)", (job_id, now(), kind, detail)
    )


def change(connection: sqlite3.Connection, job_id: str, before: Collection[JobState], **values: Any) -> bool:
    """Set columns of a job if its state is one of `before`. Whether it was."""
    assignments = ", ".join(f"{name} = ?" for name in values)
    cursor = connection.execute(
        f"UPDATE jobs SET {assignments} WHERE id = ? AND state IN {sql_list(before)}",  # noqa: S608 (our own words)
        (*values.values(), job_id),
    )
    return cursor.rowcount > 0


def get(connection: sqlite3.Connection, key: str, default: str) -> str:
    """A value of the queue as a whole."""
    row = connection.execute("SELECT value FROM queue WHERE key = ?", (key,)).fetchone()
    return row["value"] if row else default


def put(connection: sqlite3.Connection, key: str, value: str) -> None:
    connection.execute("INSERT OR REPLACE INTO queue (key, value) VALUES (?, ?)", (key, value))


def now() -> str:
    return datetime.now(UTC).isoformat()


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
