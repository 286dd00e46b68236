"""Carries the engine's progress into the store, in a thread of its own so that the engine never waits for the disk."""

from __future__ import annotations

import logging
from contextlib import suppress
from pathlib import Path
from threading import Event, Lock, Thread
from types import TracebackType

from wan_pipeline.clips.poster import write_preview
from wan_pipeline.engine.progress import Progress
from wan_pipeline.errors import StorageError
from wan_pipeline.jobs.store import JobStore

INTERVAL_SECONDS = 0.25

logger = logging.getLogger(__name__)


class JobObserver:
    """The observer of one running job. A context manager: on leaving, the last progress has been written.

    Only the newest progress counts; what comes faster than INTERVAL_SECONDS is passed over.
    """

    def __init__(self, store: JobStore, job_id: str, preview: Path) -> None:
        self._store = store
        self._job_id = job_id
        self._preview = preview
        self._preview_version = 0
        self._lock = Lock()
        self._newest: Progress | None = None
        self._news = Event()
        self._closing = Event()
        self._thread = Thread(target=self._run, name=f"progress-{job_id[:8]}", daemon=True)

    def progress(self, progress: Progress) -> None:
        with self._lock:
            if progress.preview is None and self._newest is not None and self._newest.preview is not None:
                progress = _with_preview(progress, self._newest)
            self._newest = progress
        self._news.set()

    def cancelled(self) -> bool:
        return self._store.is_cancel_requested(self._job_id)

    def __enter__(self) -> JobObserver:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._closing.set()
        self._news.set()
        self._thread.join()
        with suppress(PermissionError):  # on Windows, while a page reads it
            self._preview.unlink(missing_ok=True)

    def _run(self) -> None:
        while True:
            self._news.wait()
            self._news.clear()
            self._write()
            if self._closing.wait(INTERVAL_SECONDS):
                self._write()
                return

    def _write(self) -> None:
        with self._lock:
            progress, self._newest = self._newest, None
        if progress is None:
            return
        try:
            if progress.preview is not None:
                write_preview(progress.preview, self._preview)
                self._preview_version += 1
            self._store.progress(self._job_id, progress, self._preview_version)
        except StorageError:  # the clip itself may still be saved; if not, saving says so
            logger.warning("The progress of job %s could not be written.", self._job_id, exc_info=True)


def _with_preview(progress: Progress, earlier: Progress) -> Progress:
    """`progress` with the preview of `earlier`, which has not been written yet."""
    return Progress(progress.stage, progress.step, progress.total, progress.eta_seconds, earlier.preview)
