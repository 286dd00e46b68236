"""SQL that the views of the job table share. Functions that take a `connection` run in the caller's transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field

from wan_pipeline.jobs.disk_space import NoRoom
from wan_pipeline.jobs.job import AFTER_DENOISING_BEGAN, HELD_OR_WAITING, RETRIABLE, RUNNING, EventKind, JobState
from wan_pipeline.progress import Stage
from wan_pipeline.requests.post_processing import UNCHANGED, PostProcessing
from wan_pipeline.storage.outside import stored_json

ORDER_OF_WORK = "state != 'running', state != 'interrupted', position"
"""SQL order of unfinished jobs: running, then interrupted, then by their place in the queue."""


class QueueKey(StrEnum):
    """A setting of the queue as a whole: a key of the table `queue`."""

    PAUSED = "paused"
    STOP_AFTER_CURRENT = "stop_after_current"
    NO_ROOM = "no_room"
    """A `NoRoom` as JSON while the queue is paused until a disk has room; empty otherwise."""
    PAUSE_NOW = "pause_now"
    """Whether the running job is to be given back, to the queue that is paused."""
    STARTS = "starts"
    """How many times a job was claimed. It and the following have a value for each worker's slot."""
    HEARTBEAT = "heartbeat"
    """A `Heartbeat` as JSON."""
    READY_WORKER = "ready_worker"
    """A `ReadyWorker` as JSON."""
    WORKER_STARTS = "worker_starts"
    """Seconds that the newest workers took to be ready, as JSON, the newest last."""


def sql_list(states: Collection[StrEnum]) -> str:
    """`('queued', 'running')`, for SQL's IN. Safe to put into a statement: the states are an enum's values."""
    return f"({', '.join(repr(state.value) for state in states)})"


def now() -> str:
    """The time as stored: ISO 8601, UTC."""
    return datetime.now(UTC).isoformat()


def record_event(connection: sqlite3.Connection, job_id: str, kind: EventKind, detail: str = "") -> None:
    connection.execute(
        "INSERT INTO events (job_id, at, kind, detail) VALUES (?, ?, ?, ?)", (job_id, now(), kind, detail)
    )


def with_progress(detail: str, row: sqlite3.Row) -> str:
    """The detail of an event that puts a job back, with what the job had reached."""
    match Stage(row["stage"]):
        case Stage.DENOISING:
            reached = f"{AFTER_DENOISING_BEGAN}, at step {row['step']} of {row['total']}"
        case Stage.DECODING | Stage.SAVING:
            reached = AFTER_DENOISING_BEGAN
        case _:
            return detail
    return f"{detail} ({reached})" if detail else reached


def update_job(connection: sqlite3.Connection, job_id: str, states: Collection[JobState], **values: Any) -> bool:
    """Set columns of a job, if it is in one of `states`. Returns whether a row changed."""
    assignments = ", ".join(f"{name} = ?" for name in values)
    cursor = connection.execute(
        f"UPDATE jobs SET {assignments} WHERE id = ? AND state IN {sql_list(states)}",  # noqa: S608 (our own names)
        (*values.values(), job_id),
    )
    return cursor.rowcount > 0


def change_row(
    connection: sqlite3.Connection, job_id: str, states: Collection[JobState], kind: EventKind, **values: Any
) -> bool:
    """As `update_job`, with an event in the job's history if it changed."""
    changed = update_job(connection, job_id, states, **values)
    if changed:
        record_event(connection, job_id, kind)
    return changed


def cancel_row(connection: sqlite3.Connection, job_id: str) -> None:
    """Cancel a waiting or held job; ask a running one to stop."""
    ended = {"state": JobState.CANCELLED, "finished_at": now()}
    if not change_row(connection, job_id, HELD_OR_WAITING, EventKind.CANCELLED, **ended):
        update_job(connection, job_id, RUNNING, cancel_requested=1)


def retry_row(connection: sqlite3.Connection, job_id: str) -> bool:
    """Queue a failed, cancelled or quarantined job again, at the end. Returns whether it was one."""
    fresh = {
        "state": JobState.QUEUED,
        "stage": Stage.QUEUED,
        "position": last_position(connection) + 1,
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
        "cleared": 0,
    }
    return change_row(connection, job_id, RETRIABLE, EventKind.RETRIED, **fresh)


def last_position(connection: sqlite3.Connection) -> float:
    return float(connection.execute("SELECT coalesce(max(position), 0) FROM jobs").fetchone()[0])


@dataclass(frozen=True)
class Heartbeat:
    """The last heartbeat of a worker, as the queue holds it."""

    count: int = 0
    pid: int | None = None


@dataclass(frozen=True)
class ReadyWorker:
    """The last worker that had its engine ready, and the model that it holds."""

    pid: int | None = None
    loaded: str | None = None


def read_post_processing(stored: str) -> PostProcessing:
    return stored_json(PostProcessing, stored, UNCHANGED)


def read_ready_worker(stored: str) -> ReadyWorker:
    return stored_json(ReadyWorker, stored, ReadyWorker())


def read_worker_starts(stored: str) -> tuple[float, ...]:
    return stored_json(tuple[Annotated[float, Field(ge=0)], ...], stored, ())


def read_heartbeat(stored: str) -> Heartbeat:
    return stored_json(Heartbeat, stored, Heartbeat())


def read_no_room(stored: str) -> NoRoom | None:
    return stored_json(NoRoom | None, stored, None) if stored else None  # type: ignore[arg-type]  # a union of types


def key_of_slot(key: QueueKey, slot: int) -> str:
    """The first slot has the key that there was when there was but one worker."""
    return f"{key.value}-{slot}" if slot else key.value


def get_setting(connection: sqlite3.Connection, key: QueueKey, default: str, slot: int = 0) -> str:
    row = connection.execute("SELECT value FROM queue WHERE key = ?", (key_of_slot(key, slot),)).fetchone()
    return row["value"] if row else default


def set_setting(connection: sqlite3.Connection, key: QueueKey, value: str, slot: int = 0) -> None:
    connection.execute("INSERT OR REPLACE INTO queue (key, value) VALUES (?, ?)", (key_of_slot(key, slot), value))
