"""Writes a training's progress into its row, and stops it when the queue or the person wants that."""

from __future__ import annotations

import logging
from collections.abc import Callable

from wan_pipeline.errors import StorageError
from wan_pipeline.jobs.training.job import SAMPLING, Point
from wan_pipeline.jobs.training.trainer_queue import TrainerQueue
from wan_pipeline.progress import Progress, Throttle
from wan_pipeline.trainer.progress import TrainingProgress, TrainingStage

REPORT_SECONDS = 0.5
POLL_SECONDS = 0.2

logger = logging.getLogger(__name__)


class TrainingObserver:
    """The observer of a training in its own process. A database that cannot be used for a moment stops nothing."""

    def __init__(self, queue: TrainerQueue, training_id: str, gives_way: Callable[[], bool]) -> None:
        """`gives_way` says whether the device is wanted for something else."""
        self._queue = queue
        self._id = training_id
        self._gives_way = gives_way
        self._reports, self._polls = Throttle(REPORT_SECONDS), Throttle(POLL_SECONDS)
        self._points: list[Point] = []
        self._stage = ""
        self._is_stopped = False
        self.wants_samples = False
        """Set where each checkpoint is to have samples."""
        self.samples_are_due = False
        """Whether a checkpoint has been reached that wants them: the training stops when it is written."""

    def progress(self, progress: TrainingProgress) -> None:
        if progress.step_loss is not None or progress.validation is not None:
            self._points.append(Point(progress.step, progress.step_loss, progress.rate, progress.validation))
        is_validated = progress.stage is TrainingStage.VALIDATING
        if is_validated and self.wants_samples and 0 < progress.step < progress.total:
            self.samples_are_due = True
        if self._reports.is_due() or progress.stage != self._stage:
            self._report_progress(progress)

    def cancelled(self) -> bool:
        return self.samples_are_due or self.is_stopped()

    def is_stopped(self) -> bool:
        """Whether it was cancelled, or yields to the queue."""
        if not self._is_stopped and self._polls.is_due():
            self._is_stopped = self._is_wanted_to_stop()
        return self._is_stopped

    def sampling(self, step: int, total: int) -> None:
        """Report how many samples are made."""
        self._report(SAMPLING, step=step, total=total, eta_seconds=None)

    def close(self) -> None:
        """Write what is left of the curves."""
        self._write()

    def _report_progress(self, progress: TrainingProgress) -> None:
        kept = {name: getattr(progress, name) for name in ("note", "step_seconds", "memory_gib")}
        told = {name: value for name, value in kept.items() if value}  # the others keep their last values
        eta = progress.eta_seconds
        self._report(progress.stage, step=progress.step, total=progress.total, eta_seconds=eta, **told)

    def _report(self, stage: str, **columns: object) -> None:
        self._stage = stage
        self._write(stage=stage, **columns)

    def _write(self, **columns: object) -> None:
        try:
            self._queue.progress(self._id, self._points, **columns)
        except StorageError as error:  # the points go with the next report
            logger.warning("The training's row could not be written: %s", error)
        else:
            self._points = []

    def _is_wanted_to_stop(self) -> bool:
        try:
            return self._queue.cancel_is_requested(self._id) or self._gives_way()
        except StorageError as error:
            logger.warning("The training's row could not be read: %s", error)
            return False


class SampleObserver:
    """The observer of a sample clip: it is stopped as the training is."""

    def __init__(self, observer: TrainingObserver) -> None:
        self._observer = observer

    def progress(self, progress: Progress) -> None:
        """A sample takes a moment: the training reports how many are made."""

    def cancelled(self) -> bool:
        return self._observer.is_stopped()
