"""Work that waits until the queue is idle, and yields to it."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from contextlib import nullcontext, suppress
from typing import TypeVar

from filelock import FileLock, Timeout

from wan_pipeline.errors import Cancelled, StudioError
from wan_pipeline.jobs.device import free_memory
from wan_pipeline.jobs.table.reader import JobReader
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

    When the queue gets a job the work is cancelled, and done again later. What the work held is freed before the device
    is, on every way out. `guest` is held meanwhile, the lock by which trainings see that the device is wanted, if the
    process does not hold it anyway. Raises what `work` raises, but Cancelled only when a person has stopped it.
    """
    with guest or nullcontext():
        return _when_idle(settings, report, work, is_stopped)


def _when_idle(settings: Settings, report: Report, work: Callable[[Observer], T], is_stopped: Callable[[], bool]) -> T:
    observer = _YieldingObserver(JobReader(Database(settings.database), settings), report, is_stopped)
    locks = WorkspaceLocks(settings.workspace)
    device = locks.device()
    while True:
        observer.wait_until_idle()
        try:
            device.acquire(timeout=QUEUE_POLL_SECONDS)
        except Timeout:
            observer.tell_waiting()
            continue
        try:
            with suppress(Cancelled):  # by a job of the queue: then it is done again; a person's stop is raised above
                return _worked(work, observer)
        finally:
            free_memory(settings)
            device.release()


def _worked(work: Callable[[Observer], T], observer: Observer) -> T:
    """What the work returns. What it raises holds nothing of what the work had: its memory can be freed."""
    try:
        return work(observer)
    except StudioError as error:
        raised: BaseException | None = error
        while raised is not None:
            traceback.clear_frames(raised.__traceback__)
            raised = raised.__cause__ or raised.__context__
        raise


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
