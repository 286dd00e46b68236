"""Work that waits until the queue is idle, and yields to it."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import TypeVar

from filelock import FileLock, Timeout

from wan_pipeline.errors import Cancelled
from wan_pipeline.jobs.device import free_memory
from wan_pipeline.jobs.reader import JobReader
from wan_pipeline.progress import Observer, Progress, Stage, Throttle
from wan_pipeline.settings import Settings
from wan_pipeline.storage.database import Database
from wan_pipeline.storage.locks import WorkspaceLocks

QUEUE_POLL_SECONDS = 1.0
REPORT_SECONDS = 0.5

Report = Callable[[Progress], None]
"""Stores how far the work is; the stage is QUEUED while it waits for the queue."""
T = TypeVar("T")


def when_idle(
    settings: Settings,
    report: Report,
    work: Callable[[Observer], T],
    is_stopped: Callable[[], bool] = lambda: False,
    guest: FileLock | None = None,
) -> T:
    """Do the work once the queue is idle, holding the device, and return what it returns.

    When the queue gets a job the work is cancelled, its memory is freed, and it is done again later. `guest` is held
    meanwhile, the lock by which trainings see that the device is wanted, if the process does not hold it anyway. Raises
    what `work` raises, but Cancelled only when a person has stopped it.
    """
    with guest or nullcontext():
        return _when_idle(settings, report, work, is_stopped)


def _when_idle(settings: Settings, report: Report, work: Callable[[Observer], T], is_stopped: Callable[[], bool]) -> T:
    observer = _YieldingObserver(JobReader(Database(settings.database), settings), report, is_stopped)
    locks = WorkspaceLocks(settings.workspace)
    while True:
        observer.wait_until_idle()
        try:
            device = locks.device().acquire(timeout=QUEUE_POLL_SECONDS)
        except Timeout:
            observer.tell_waiting()
            continue
        with device:
            try:
                return work(observer)
            except Cancelled:
                pass  # the exception holds what the work had, until here
            free_memory(settings)


class ReportingObserver:
    """Reports progress now and then."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._reports = Throttle(REPORT_SECONDS)
        self._stage: Stage | None = None

    def progress(self, progress: Progress) -> None:
        if self._reports.is_due() or progress.stage is not self._stage:
            self._stage = progress.stage
            self._report(progress)

    def cancelled(self) -> bool:
        return False


class _YieldingObserver(ReportingObserver):
    """Cancels when the queue has a job or a person stops the work."""

    def __init__(self, jobs: JobReader, report: Report, is_stopped: Callable[[], bool]) -> None:
        super().__init__(report)
        self._jobs, self._is_stopped = jobs, is_stopped

    def cancelled(self) -> bool:
        """Whether a clip is being rendered, or will be at once; or the work was stopped."""
        return self._is_stopped() or self._jobs.will_render()

    def wait_until_idle(self) -> None:
        """Raises Cancelled if it is stopped."""
        while self.cancelled():
            if self._is_stopped():
                raise Cancelled("The work was stopped.")
            self.tell_waiting()
            time.sleep(QUEUE_POLL_SECONDS)

    def tell_waiting(self) -> None:
        if self._stage is not Stage.QUEUED:
            self._stage = Stage.QUEUED
            self._report(Progress(Stage.QUEUED))
