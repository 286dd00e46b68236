"""What a training tells goes into its row; what the queue and the person want stops it."""

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
        self._note = ""
        self._is_stopped = False
        self.samples_are_due = False
        """To be set where a checkpoint's samples are wanted: the training stops when the checkpoint is written."""
        self.wants_samples = False

    def progress(self, progress: TrainingProgress) -> None:
        self._note = progress.note or self._note
        if progress.step_loss is not None or progress.validation is not None:
            self._points.append(Point(progress.step, progress.step_loss, progress.rate, progress.validation))
        is_validated = progress.stage is TrainingStage.VALIDATING
        if is_validated and self.wants_samples and progress.step < progress.total:
            self.samples_are_due = True
        if self._reports.is_due() or progress.stage != self._stage:
            self._report(
                progress.stage,
                step=progress.step,
                total=progress.total,
                eta_seconds=progress.eta_seconds,
                note=self._note,
                **({} if progress.step_seconds is None else {"step_seconds": progress.step_seconds}),
                **({} if progress.memory_gib is None else {"memory_gib": progress.memory_gib}),
            )

    def cancelled(self) -> bool:
        return self.samples_are_due or self.is_stopped()

    def is_stopped(self) -> bool:
        """Whether it was cancelled, or gives way."""
        if not self._is_stopped and self._polls.is_due():
            self._is_stopped = self._use(self._ask, default=False)
        return self._is_stopped

    def sampling(self, step: int, total: int) -> None:
        """So many samples of all are made."""
        self._report(SAMPLING, step=step, total=total, eta_seconds=None)

    def close(self) -> None:
        """Write what is left of the curves."""
        self._use(lambda: self._queue.progress(self._id, self._points), default=False)
        self._points = []

    def _report(self, stage: str, **columns: object) -> None:
        self._stage = stage
        points = self._points
        if self._use(lambda: self._queue.progress(self._id, points, stage=stage, **columns) or True, default=False):
            self._points = []

    def _ask(self) -> bool:
        return self._queue.cancel_is_requested(self._id) or self._gives_way()

    def _use(self, ask: Callable[[], bool], *, default: bool) -> bool:
        try:
            return ask()
        except StorageError as error:
            logger.warning("The training's row could not be used: %s", error)
            return default


class SampleObserver:
    """The observer of a sample clip: it is stopped as the training is."""

    def __init__(self, observer: TrainingObserver) -> None:
        self._observer = observer

    def progress(self, progress: Progress) -> None:
        """A sample takes a moment: the training tells how many are made."""

    def cancelled(self) -> bool:
        return self._observer.is_stopped()
