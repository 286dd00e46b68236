"""Which job a worker claims next."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Collection

from wan_pipeline.jobs.job import EventKind, JobState
from wan_pipeline.jobs.table.rows import QueueKey, get_setting, now, record_event, set_setting
from wan_pipeline.progress import Stage

AMONG = "AND (? IS NULL OR model IN (SELECT value FROM json_each(?)))"
"""Given the same JSON list twice: the models to choose from; NULL for all."""
MAX_OVERTAKEN = 8
"""Jobs of another model that may go before one, to avoid loading weights again."""


def next_row(
    connection: sqlite3.Connection, loaded: str | None, models: Collection[str] | None, *, is_deterministic: bool
) -> sqlite3.Row | None:
    """The row to claim, by the rule in `WorkerQueue.claim`. None when none waits or the queue is paused."""
    if get_setting(connection, QueueKey.PAUSED, "0") == "1":
        return None
    among = None if models is None else json.dumps(sorted(models))
    row = _first(connection, among, "state = 'interrupted'")
    if row is None and get_setting(connection, QueueKey.STOP_AFTER_CURRENT, "0") == "1":
        set_setting(connection, QueueKey.PAUSED, "1")
        set_setting(connection, QueueKey.STOP_AFTER_CURRENT, "0")
        return None
    return (
        row
        or (loaded and _alike(connection, among, loaded, deterministic=is_deterministic))
        or _first(connection, among, "state = 'queued'")
    )


def _alike(connection: sqlite3.Connection, among: str | None, model: str, *, deterministic: bool) -> sqlite3.Row | None:
    """The first waiting job that the loaded model can make as it is, unless it may not overtake the one before it."""
    barrier = _first(connection, among, "state = 'queued' AND (moved OR overtaken >= ?)", MAX_OVERTAKEN)
    last = barrier["position"] if barrier else float("inf")
    is_alike = "state = 'queued' AND model = ? AND deterministic = ? AND position <= ?"
    return _first(connection, among, is_alike, model, deterministic, last)


def _first(connection: sqlite3.Connection, among: str | None, condition: str, *values: object) -> sqlite3.Row | None:
    """The first row by position of those that meet the condition; `among` as AMONG says."""
    chosen = f"{condition} {AMONG}"
    statement = f"SELECT * FROM jobs WHERE {chosen} ORDER BY position LIMIT 1"  # noqa: S608 (this file's constants)
    row: sqlite3.Row | None = connection.execute(statement, (*values, among, among)).fetchone()
    return row


def start_row(connection: sqlite3.Connection, row: sqlite3.Row, slot: int) -> None:
    """Mark a job as run by the worker of this slot, and count the jobs that it overtakes."""
    connection.execute(
        "UPDATE jobs SET state = ?, stage = ?, started_at = ?, slot = ?, attempts = attempts + 1, resumed_from = 0, "
        "step = 0, total = 0, eta_seconds = NULL WHERE number = ?",
        (JobState.RUNNING, Stage.LOADING, now(), slot, row["number"]),
    )
    if row["state"] == JobState.QUEUED:
        connection.execute(
            "UPDATE jobs SET overtaken = overtaken + 1 WHERE state = 'queued' AND position < ?", (row["position"],)
        )
    starts = int(get_setting(connection, QueueKey.STARTS, "0", slot)) + 1
    set_setting(connection, QueueKey.STARTS, str(starts), slot)
    record_event(connection, row["id"], EventKind.STARTED, f"attempt {row['attempts'] + 1}, process {os.getpid()}")
