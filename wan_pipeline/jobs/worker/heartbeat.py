"""The worker's sign of life, which tells a process that hangs from one that works."""

from __future__ import annotations

import logging
import os
import time
from threading import Event, Thread
from types import TracebackType

from wan_pipeline.errors import StorageError
from wan_pipeline.jobs.editor import JobStore

BEAT_SECONDS = 5.0
STALL_SECONDS = 30 * 60.0
"""Work that has not stirred for so long never will: no step, load or encoding takes half an hour in one piece."""

logger = logging.getLogger(__name__)


class Heartbeat:
    """Beats in a thread of its own while there is a job and its work stirs. A context manager.

    When the work stalls it falls silent; without a job too, for an idle night is no reason to write to the disk.
    """

    def __init__(self, store: JobStore, stall_seconds: float = STALL_SECONDS) -> None:
        self._store = store
        self._stall_seconds = stall_seconds
        self._stirred_at = time.monotonic()
        self._job_id: str | None = None
        self._closing = Event()
        self._thread = Thread(target=self._run, name="heartbeat", daemon=True)

    def stir(self) -> None:
        """The work goes on. Costs nothing."""
        self._stirred_at = time.monotonic()

    def take(self, job_id: str | None) -> None:
        """From now on it is this job that the worker has."""
        self._job_id = job_id
        self.stir()

    def __enter__(self) -> Heartbeat:
        """The first beat is on the disk then, so that the process can be found. Raises StorageError."""
        self._store.heartbeat(os.getpid(), None)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._closing.set()
        self._thread.join()

    def _run(self) -> None:
        last = None
        while not self._closing.wait(BEAT_SECONDS):
            job_id = self._job_id
            is_idle = job_id is None and last is None
            if is_idle or time.monotonic() - self._stirred_at > self._stall_seconds:
                continue
            try:
                self._store.heartbeat(os.getpid(), job_id)
                last = job_id
            except StorageError:
                logger.warning("The worker's sign of life could not be written.", exc_info=True)
