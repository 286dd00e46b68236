"""Carries the engine's progress into the store, in a thread of its own so that the engine never waits for the disk."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Event, Lock, Thread
from types import TracebackType

from wan_pipeline.clips.poster import write_preview
from wan_pipeline.errors import StorageError
from wan_pipeline.jobs.editor import JobStore
from wan_pipeline.progress import Progress, Stage
from wan_pipeline.storage.crash import CrashPoint, crash_point

INTERVAL_SECONDS = 0.25

logger = logging.getLogger(__name__)


class JobObserver:
    """The observer of one running job. A context manager: on leaving, the last progress has been written.

    Only the newest progress counts; what comes faster than INTERVAL_SECONDS is passed over. As often it is asked
    whether the job is to be cancelled. `stirred` is called at every report: a sign that the work goes on.
    """

    def __init__(self, store: JobStore, job_id: str, preview: Path, stirred: Callable[[], None] | None = None) -> None:
        self._store = store
        self._job_id = job_id
        self._preview = preview
        self._stirred = stirred
        self._preview_version = 0
        self._lock = Lock()
        self._newest: Progress | None = None
        self._first_step: int | None = None
        """Where denoising stood when it began: beyond 0 where it goes on from a checkpoint."""
        self._cancelled = Event()
        self._closing = Event()
        self._thread = Thread(target=self._run, name=f"progress-{job_id[:8]}", daemon=True)

    def progress(self, progress: Progress) -> None:
        with self._lock:
            if progress.preview is None and self._newest is not None and self._newest.preview is not None:
                progress = _with_preview(progress, self._newest)
            if self._first_step is None and progress.stage is Stage.DENOISING:
                self._first_step = progress.step
            self._newest = progress
        if self._stirred is not None:
            self._stirred()

    def cancelled(self) -> bool:
        return self._cancelled.is_set()

    def start(self) -> None:
        """Begin to write. What asks to cancel before that is seen at once."""
        self._look_for_cancel()
        self._thread.start()

    def close(self) -> None:
        """Write the last progress and let the preview go. May be called again."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join()
        with suppress(PermissionError):  # on Windows, while a page reads it
            self._preview.unlink(missing_ok=True)

    def __enter__(self) -> JobObserver:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _run(self) -> None:
        while not self._closing.wait(INTERVAL_SECONDS):
            self._look_for_cancel()
            self._write()
        self._write()

    def _look_for_cancel(self) -> None:
        try:
            if self._store.is_cancel_requested(self._job_id):
                self._cancelled.set()
        except StorageError:  # asked again soon; a clip is not given up because the database is held by a backup
            logger.warning("Whether job %s is to be cancelled could not be read.", self._job_id, exc_info=True)

    def _write(self) -> None:
        with self._lock:
            progress, self._newest = self._newest, None
        if progress is None:
            return
        try:
            self._note_resumed()
            if progress.preview is not None:
                write_preview(progress.preview, self._preview)
                self._preview_version += 1
            self._store.progress(self._job_id, progress, self._preview_version)
            crash_point(CrashPoint.PROGRESS_WRITTEN)
        except StorageError:  # the clip itself may still be saved; if not, saving says so
            logger.warning("The progress of job %s could not be written.", self._job_id, exc_info=True)

    def _note_resumed(self) -> None:
        if self._first_step:
            self._store.note_resumed(self._job_id, self._first_step)
            self._first_step = 0


def _with_preview(progress: Progress, earlier: Progress) -> Progress:
    """`progress` with the preview of `earlier`, which has not been written yet."""
    return Progress(progress.stage, progress.step, progress.total, progress.eta_seconds, earlier.preview)
