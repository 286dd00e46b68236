"""The worker's heartbeat, by which the supervisor tells a process that hangs from one that works."""

from __future__ import annotations

import logging
import os
import time
from threading import Event, Thread
from types import TracebackType

from wan_pipeline.errors import StorageError
from wan_pipeline.jobs.table.worker_queue import WorkerQueue

BEAT_SECONDS = 5.0
STALL_SECONDS = 30 * 60.0
"""Without activity for so long a worker hangs: no step, load or encoding takes half an hour in one piece."""

logger = logging.getLogger(__name__)


class Heartbeat:
    """Beats in a thread of its own while there is a job and the job makes progress. A context manager.

    It stops beating when the job stalls. It also stops without a job, so that an idle night does not write to the disk.
    """

    def __init__(self, queue: WorkerQueue, stall_seconds: float = STALL_SECONDS) -> None:
        self._queue = queue
        self._stall_seconds = stall_seconds
        self._active_at = time.monotonic()
        self._job_id: str | None = None
        self._closing = Event()
        self._thread = Thread(target=self._run, name="heartbeat", daemon=True)

    def on_activity(self) -> None:
        """The job makes progress. Costs nothing."""
        self._active_at = time.monotonic()

    def set_job(self, job_id: str | None) -> None:
        """From now on the worker has this job, or none."""
        self._job_id = job_id
        self.on_activity()

    def __enter__(self) -> Heartbeat:
        """Write the first beat, so that the process can be found. Raises StorageError."""
        self._queue.heartbeat(os.getpid())
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._closing.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._closing.wait(BEAT_SECONDS):
            if self._job_id is None or time.monotonic() - self._active_at > self._stall_seconds:
                continue
            try:
                self._queue.heartbeat(os.getpid())
            except StorageError:
                logger.warning("The heartbeat could not be written.", exc_info=True)
