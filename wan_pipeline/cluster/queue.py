"""The queue as many running jobs use it: what is asked of them is read once for all, and writers take turns."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

from wan_pipeline.jobs.table.reader import JobReader
from wan_pipeline.jobs.table.rows import QueueKey, get_setting
from wan_pipeline.jobs.table.worker_queue import StopRequests, WorkerQueue
from wan_pipeline.jobs.worker.observer import INTERVAL_SECONDS
from wan_pipeline.progress import Throttle
from wan_pipeline.storage.database import Database


class SerialDatabase(Database):
    """A database whose writing threads wait for each other here, in turn.

    SQLite itself lets who waits for a lock sleep and try again: of hundreds some would not get it within BUSY_SECONDS.
    """

    def __init__(self, path: Path) -> None:
        self._writing = Lock()
        super().__init__(path)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        with self._writing, super().transaction() as connection:
            yield connection


class SharedQueue(WorkerQueue):
    """A worker's view for all jobs of a slot. Without it a thousand observers ask the database 4,000 times a second."""

    def __init__(self, database: Database, jobs: JobReader, slot: int) -> None:
        super().__init__(database, jobs, slot)
        self._lock = Lock()
        self._is_due = Throttle(INTERVAL_SECONDS).is_due
        self._cancelled: frozenset[str] = frozenset()
        self._pauses_now = False

    def stop_requests(self, job_id: str) -> StopRequests:
        """What was asked of the running job, INTERVAL_SECONDS ago at the most."""
        with self._lock:
            if self._is_due():
                self._read()
            return StopRequests(job_id in self._cancelled, self._pauses_now)

    def _read(self) -> None:
        with self._database.connection() as connection:
            rows = connection.execute("SELECT id FROM jobs WHERE state = 'running' AND cancel_requested").fetchall()
            self._pauses_now = get_setting(connection, QueueKey.PAUSE_NOW, "0") == "1"
        self._cancelled = frozenset(row["id"] for row in rows)
