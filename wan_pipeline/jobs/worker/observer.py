"""Writes the engine's progress to the queue from a thread of its own, so that the engine never waits for the disk."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from threading import Event, Lock, Thread

from wan_pipeline.clips.poster import write_preview
from wan_pipeline.errors import StorageError
from wan_pipeline.jobs.table.worker_queue import WorkerQueue
from wan_pipeline.progress import Progress, Stage
from wan_pipeline.storage.crash import CrashPoint, crash_point

INTERVAL_SECONDS = 0.25

logger = logging.getLogger(__name__)


class JobObserver:
    """The observer of one running job, from `start` to `close`, which writes the last progress.

    Every INTERVAL_SECONDS the newest progress is written and the queue is asked whether the job is to be cancelled.
    `on_activity` is called at every report.
    """

    def __init__(
        self, queue: WorkerQueue, job_id: str, preview: Path, on_activity: Callable[[], None] | None = None
    ) -> None:
        self._queue = queue
        self._job_id = job_id
        self._preview = preview
        self._on_activity = on_activity
        self._lock = Lock()
        self._newest: Progress | None = None
        self._first_step: int | None = None
        """The step that denoising began at: beyond 0 when it resumed from a checkpoint."""
        self._cancelled = Event()
        self._paused = Event()
        self._is_rendered = False
        self._closing = Event()
        self._thread = Thread(target=self._run, name=f"progress-{job_id[:8]}", daemon=True)

    def progress(self, progress: Progress) -> None:
        with self._lock:
            if progress.preview is None and self._newest is not None:
                progress = replace(progress, preview=self._newest.preview)  # it has not been written yet
            if self._first_step is None and progress.stage is Stage.DENOISING:
                self._first_step = progress.step
            self._newest = progress
        if self._on_activity is not None:
            self._on_activity()

    def cancelled(self) -> bool:
        """Whether to stop: the job is to be cancelled, or to be given back, which a clip with all its frames is not."""
        return self.is_job_cancelled or (self._paused.is_set() and not self._is_rendered)

    @property
    def is_job_cancelled(self) -> bool:
        return self._cancelled.is_set()

    def frames_are_made(self) -> None:
        """From here on only a cancel stops the job."""
        self._is_rendered = True

    def start(self) -> None:
        """Begin to write. A cancel request from before is seen at once."""
        self._check_cancel_request()
        self._thread.start()

    def discard(self) -> None:
        """Write no more: what follows must not wait for progress that is no longer read."""
        with self._lock:
            self._newest = None
        self._closing.set()

    def close(self) -> None:
        """Write the last progress, unless it was discarded, and remove the preview. May be called again."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join()
        with suppress(PermissionError):  # on Windows, while a page reads it
            self._preview.unlink(missing_ok=True)

    def _run(self) -> None:
        while not self._closing.wait(INTERVAL_SECONDS):
            self._check_cancel_request()
            self._write()
        self._write()

    def _check_cancel_request(self) -> None:
        try:
            requests = self._queue.stop_requests(self._job_id)
            if requests.cancel:
                self._cancelled.set()
            if requests.pause:
                self._paused.set()
        except StorageError:  # asked again soon; a busy database is no reason to give up a clip
            logger.warning("Whether job %s is to stop could not be read.", self._job_id, exc_info=True)

    def _write(self) -> None:
        with self._lock:
            progress, self._newest = self._newest, None
        if progress is None:
            return
        try:
            if progress.preview is not None:
                write_preview(progress.preview, self._preview)
        except Exception:  # a picture less; the thread must go on, for it alone sees that the job is to be cancelled
            logger.exception("The preview of job %s could not be written.", self._job_id)
        try:
            self._record_resumed()
            self._queue.progress(self._job_id, progress)
            crash_point(CrashPoint.PROGRESS_WRITTEN)
        except StorageError:  # the clip itself may still be saved; if not, saving says so
            logger.warning("The progress of job %s could not be written.", self._job_id, exc_info=True)

    def _record_resumed(self) -> None:
        if self._first_step:
            self._queue.record_resumed(self._job_id, self._first_step)
            self._first_step = 0
