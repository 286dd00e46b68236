"""SQL of the table of works on clips. The functions run in the caller's transaction."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import asdict
from typing import NamedTuple

from wan_pipeline.jobs.clip_works.work import UNFINISHED, ClipWork, WorkKind, WorkOrder, WorkState
from wan_pipeline.jobs.table.rows import now, sql_list
from wan_pipeline.storage.outside import stored_json

MAX_DEATHS = 2
"""Processes that may die with a work before it fails."""
_UNFINISHED = sql_list(UNFINISHED)
_NEXT = f"SELECT * FROM clip_works WHERE state IN {_UNFINISHED} ORDER BY state DESC, number LIMIT 1"  # noqa: S608
_UNREADABLE = ClipWork(
    WorkState.FAILED, WorkOrder(WorkKind.FRAMES), error="What is stored of this work cannot be read; start it again."
)


class StoredWork(NamedTuple):
    """A row of the table."""

    number: int
    clip_id: str
    work: ClipWork
    deaths: int
    """Processes that died with it."""


def add(connection: sqlite3.Connection, clip_id: str, order: WorkOrder) -> None:
    """Queue a work on the clip of the gallery that has, or will have, this id."""
    work = ClipWork(WorkState.WAITING, order)
    connection.execute(
        "INSERT INTO clip_works (clip_id, state, work, created_at) VALUES (?, ?, ?, ?)",
        (clip_id, work.state, json.dumps(asdict(work)), now()),
    )


def claim(connection: sqlite3.Connection, log: str) -> StoredWork | None:
    """The next work, for the process that alone works on clips: what it finds in hand, another left when it died.

    Fails what MAX_DEATHS processes died with; the reason may be in `log`.
    """
    while row := connection.execute(_NEXT).fetchone():
        number, work = row["number"], read_work(row)
        deaths = row["deaths"] + (row["state"] == WorkState.WORKING)
        connection.execute("UPDATE clip_works SET deaths = ? WHERE number = ?", (deaths, number))
        if row["stop_requested"]:
            write(connection, number, ClipWork(WorkState.STOPPED, work.order))
        elif work.is_over:  # it cannot be read
            write(connection, number, work)
        elif deaths >= MAX_DEATHS:
            error = f"It ended unexpectedly {deaths} times; the reason may be in {log}."
            write(connection, number, ClipWork(WorkState.FAILED, work.order, error=error))
        else:
            write(connection, number, ClipWork(WorkState.WAITING, work.order))
            return StoredWork(number, row["clip_id"], work, deaths)
    return None


def give_back(connection: sqlite3.Connection) -> None:
    """Let the work in hand wait again, after its process was stopped on purpose: that is no death."""
    query = "SELECT * FROM clip_works WHERE state = ?"
    for row in connection.execute(query, (WorkState.WORKING,)).fetchall():
        write(connection, row["number"], ClipWork(WorkState.WAITING, read_work(row).order))


def fail_unfinished(connection: sqlite3.Connection, error: str) -> None:
    for stored in unfinished(connection):
        write(connection, stored.number, ClipWork(WorkState.FAILED, stored.work.order, error=error))


def write(connection: sqlite3.Connection, number: int, work: ClipWork) -> None:
    """Store how far a work is. One that is over stays as it is: a person may have stopped it meanwhile."""
    connection.execute(
        f"UPDATE clip_works SET state = ?, work = ? WHERE number = ? AND state IN {_UNFINISHED}",  # noqa: S608
        (work.state, json.dumps(asdict(work)), number),
    )


class Queued(NamedTuple):
    """How much is to do, and the first of it."""

    to_do: int
    first: ClipWork | None


def queued(connection: sqlite3.Connection) -> Queued:
    """For what is asked every second: reads one work, however many wait."""
    count = connection.execute(f"SELECT count(*) FROM clip_works WHERE state IN {_UNFINISHED}").fetchone()[0]  # noqa: S608
    row = connection.execute(_NEXT).fetchone() if count else None
    return Queued(count, read_work(row) if row else None)


def of_number(connection: sqlite3.Connection, number: int) -> ClipWork:
    return read_work(connection.execute("SELECT * FROM clip_works WHERE number = ?", (number,)).fetchone())


def latest(connection: sqlite3.Connection, clip_id: str) -> ClipWork | None:
    """The newest work on a clip."""
    row = connection.execute(
        "SELECT * FROM clip_works WHERE clip_id = ? ORDER BY number DESC LIMIT 1", (clip_id,)
    ).fetchone()
    return read_work(row) if row else None


def unfinished(connection: sqlite3.Connection) -> list[StoredWork]:
    """In order of work."""
    query = f"SELECT * FROM clip_works WHERE state IN {_UNFINISHED} ORDER BY state DESC, number"  # noqa: S608
    return [_stored(row) for row in connection.execute(query)]


def done(connection: sqlite3.Connection, limit: int) -> list[ClipWork]:
    """The newest that are done, newest first."""
    query = "SELECT * FROM clip_works WHERE state = ? ORDER BY number DESC LIMIT ?"
    return [read_work(row) for row in connection.execute(query, (WorkState.DONE, limit))]


def stop(connection: sqlite3.Connection, clip_id: str | None = None) -> None:
    """Stop the works of a clip, or all: those that wait at once, one in hand after its step or its frame."""
    rows = connection.execute(
        f"SELECT * FROM clip_works WHERE state IN {_UNFINISHED} AND (?1 IS NULL OR clip_id = ?1)",  # noqa: S608
        (clip_id,),
    ).fetchall()
    for row in rows:
        connection.execute("UPDATE clip_works SET stop_requested = 1 WHERE number = ?", (row["number"],))
        if row["state"] == WorkState.WAITING:
            write(connection, row["number"], ClipWork(WorkState.STOPPED, read_work(row).order))


def is_stopped(connection: sqlite3.Connection, number: int) -> bool:
    row = connection.execute("SELECT stop_requested FROM clip_works WHERE number = ?", (number,)).fetchone()
    return row is None or bool(row["stop_requested"])


def _stored(row: sqlite3.Row) -> StoredWork:
    return StoredWork(row["number"], row["clip_id"], read_work(row), row["deaths"])


def read_work(row: sqlite3.Row) -> ClipWork:
    return stored_json(ClipWork, row["work"], _UNREADABLE)
