"""A training of the command line: in this process, alone on the device, which it leaves to clips as queued ones do."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from wan_pipeline.errors import Cancelled
from wan_pipeline.jobs.device import device_without_queue, free_memory
from wan_pipeline.jobs.table.reader import JobReader
from wan_pipeline.jobs.training.process import device_is_wanted
from wan_pipeline.progress import Progress, Throttle, check_cancelled
from wan_pipeline.settings import Settings
from wan_pipeline.storage.database import Database
from wan_pipeline.storage.locks import WorkspaceLocks
from wan_pipeline.trainer.files.naming import state_path
from wan_pipeline.trainer.progress import TrainingObserver, TrainingProgress, TrainingStage
from wan_pipeline.trainer.request import TrainingRequest

if TYPE_CHECKING:
    from wan_pipeline.trainer.trained import Trained

POLL_SECONDS = 0.5


def train_now(request: TrainingRequest, settings: Settings, observer: TrainingObserver) -> Trained:
    """Train once the device is free. When a clip is to be made it saves its state, waits, and goes on to the same
    weights.

    Raises UserError, GenerationError, StorageError or Cancelled.
    """
    from wan_pipeline.trainer.run import train  # here: torch takes seconds to import

    locks = WorkspaceLocks(settings.workspace)
    jobs = JobReader(Database(settings.database), settings)
    while True:
        giving_way = _GivingWay(observer, lambda: device_is_wanted(jobs, locks))
        with _device(settings, locks, giving_way):
            try:
                return train(request, settings, giving_way)
            except Cancelled:
                if observer.cancelled() or not giving_way.gives_way:
                    raise
            free_memory(settings)
        request = replace(request, resume=state_path(settings, request.output).exists())


class _GivingWay:
    """An observer that also cancels the training when the device is wanted for a clip."""

    def __init__(self, observer: TrainingObserver, is_wanted: Callable[[], bool]) -> None:
        self.observer = observer
        self.is_wanted = is_wanted
        self._polls = Throttle(POLL_SECONDS)
        self.gives_way = False

    def progress(self, progress: TrainingProgress) -> None:
        self.observer.progress(progress)

    def cancelled(self) -> bool:
        if not self.gives_way and self._polls.is_due():
            self.gives_way = self.is_wanted()
        return self.gives_way or self.observer.cancelled()


class _Waiting:
    """The observer of the wait for the device."""

    def __init__(self, observer: TrainingObserver) -> None:
        self._observer = observer

    def progress(self, progress: Progress) -> None:
        self._observer.progress(TrainingProgress(TrainingStage.WAITING))

    def cancelled(self) -> bool:
        return self._observer.cancelled()


@contextmanager
def _device(settings: Settings, locks: WorkspaceLocks, giving_way: _GivingWay) -> Iterator[None]:
    """Context manager: hold the device as the process that trains does, once nothing else wants it."""
    observer = giving_way.observer
    while True:
        while giving_way.is_wanted():
            check_cancelled(observer, "training")
            observer.progress(TrainingProgress(TrainingStage.WAITING))
            time.sleep(POLL_SECONDS)
        with device_without_queue(settings, _Waiting(observer), locks.trainer()):
            if not giving_way.is_wanted():  # a job may have come meanwhile
                yield
                return
