"""One stint of a training: until it is done, wanted to stop, or the queue needs the device."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from wan_pipeline.errors import Cancelled, StudioError
from wan_pipeline.jobs.training.job import TrainingJob, TrainingResult
from wan_pipeline.jobs.training.observer import TrainingObserver
from wan_pipeline.jobs.training.samples import Sampler
from wan_pipeline.jobs.training.trainer_queue import TrainerQueue
from wan_pipeline.jobs.training.trainings import Trainings
from wan_pipeline.settings import Settings
from wan_pipeline.trainer.files.naming import lora_paths, state_path
from wan_pipeline.trainer.trainable import SUFFIXES

if TYPE_CHECKING:
    from wan_pipeline.trainer.trained import Trained

CLOCK_SECONDS = 2.0
"""Seconds by which a file's time may differ from the database's."""

logger = logging.getLogger(__name__)


class Stint:
    """A claimed training in this process, which holds the device. However it ends, its row says so."""

    def __init__(
        self,
        job: TrainingJob,
        settings: Settings,
        queue: TrainerQueue,
        trainings: Trainings,
        gives_way: Callable[[], bool],
    ) -> None:
        """`gives_way` says whether the device is wanted for something else."""
        self._job = job
        self._settings = settings
        self._queue = queue
        self._trainings = trainings
        self._new_observer = partial(TrainingObserver, queue, job.id, gives_way)
        self._warnings = list(job.warnings)

    def run(self) -> None:
        """Train, with samples at each checkpoint. Raises StorageError when the database cannot be used."""
        with self._ending():
            result = self._job.result or self._written_before() or self._train()
            self._queue.record_result(self._job.id, result, self._warnings)
            with self._observing() as observer:
                self._sample(observer, (result.steps, result.lora))
            self._queue.finish(self._job.id, result, self._warnings)

    def _train(self) -> TrainingResult:
        """Until it is done. It stops at each checkpoint that wants samples, lets the model go, and goes on after them.

        Raises StudioError, Cancelled.
        """
        while True:
            with self._observing() as observer:
                observer.wants_samples = bool(self._job.prompts)
                trained = self._train_on(observer)
                if trained is not None:
                    for sentence in trained.warnings:
                        self._warn(sentence)
                    return _result(self._job.name, trained)
                gc.collect()  # the model's modules and hooks refer to each other
                self._sample(observer)

    def _train_on(self, observer: TrainingObserver) -> Trained | None:
        """None where samples are due."""
        from wan_pipeline.trainer.run import train  # here: torch takes seconds to import

        request = self._job.request
        resumes = state_path(self._settings, request.output).exists()
        try:
            return train(replace(request, resume=resumes), self._settings, observer)
        except Cancelled:
            if not observer.samples_are_due or observer.is_stopped():
                raise
        return None

    def _sample(self, observer: TrainingObserver, final: tuple[int, str] | None = None) -> None:
        """Make the samples that are missing. What goes wrong with them is a warning: the training is worth more."""
        if not self._job.prompts:
            return
        try:
            Sampler(self._settings, self._job).make(observer, final)
        except Cancelled:
            if final is None or not self._queue.cancel_is_requested(self._job.id):
                raise
            self._warnings.append("Its last samples were left out, as it was stopped when the LoRA was there.")
        except StudioError as error:
            logger.warning("No samples: %s", error)
            self._warn(f"Samples could not be made: {error}")

    def _warn(self, sentence: str) -> None:
        if sentence not in self._warnings:  # at each checkpoint
            self._warnings.append(sentence)

    def _written_before(self) -> TrainingResult | None:
        """The result of a process that died when the LoRA was written and its row was not; None if none did."""
        job, request = self._job, self._job.request
        found = lora_paths(self._settings.loras, request.output, SUFFIXES)
        written = [path for path in found if path.is_file()]
        if job.started_at is None or not written or state_path(self._settings, request.output).exists():
            return None
        since = job.started_at - timedelta(seconds=CLOCK_SECONDS)
        points = self._trainings.points(job.id)
        if not points or any(datetime.fromtimestamp(path.stat().st_mtime, UTC) < since for path in written):
            return None
        losses = [point.loss for point in points if point.loss is not None]
        validation = [point.validation for point in points if point.validation is not None]
        return TrainingResult(
            request.output,
            points[-1].step,
            sum(losses[-LAST:]) / len(losses[-LAST:]) if losses else 0.0,
            validation[-1] if validation else None,
            seconds=0.0,
            peak_memory_gib=job.memory_gib or 0.0,
        )

    @contextmanager
    def _observing(self) -> Iterator[TrainingObserver]:
        observer = self._new_observer()
        try:
            yield observer
        finally:
            observer.close()

    @contextmanager
    def _keeping_warnings(self) -> Iterator[None]:
        """However it ends, what it has to say is in its row."""
        try:
            yield
        finally:
            if self._warnings != list(self._job.warnings):
                self._queue.record_warnings(self._job.id, self._warnings)

    @contextmanager
    def _ending(self) -> Iterator[None]:
        """Turn whatever goes wrong within into the end of this training, or into a pause."""
        job = self._job
        try:
            with self._keeping_warnings():
                yield
        except Cancelled:
            self._queue.pause(job.id)
            logger.info("The training %s stops; its state is kept.", job.name)
        except StudioError as error:
            self._queue.fail(job.id, str(error))
            logger.warning("The training %s failed: %s", job.name, error)
        except Exception as error:  # the next training is not to suffer from any fault of this one
            logger.exception("The training %s failed", job.name)
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            sentence = f"Something unexpected went wrong ({reason}); details are in logs/training.log in the workspace."
            self._queue.fail(job.id, sentence)


def _result(name: str, trained: Trained) -> TrainingResult:
    return TrainingResult(
        name,
        trained.steps,
        trained.loss,
        trained.validation_loss,
        trained.seconds,
        trained.peak_memory_gib,
        trained.lora.sha256,
    )


LAST = 20
"""Steps whose mean loss is a training's, as its loop reckons it."""
