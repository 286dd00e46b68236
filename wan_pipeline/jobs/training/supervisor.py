"""Starts the process that trains, from the app that runs the workspace, whenever the queue does not need the device."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from wan_pipeline.jobs.launch import RunningWorker, launch
from wan_pipeline.jobs.table.reader import JobReader
from wan_pipeline.jobs.training.job import TrainingState
from wan_pipeline.jobs.training.process import MODULE, device_is_wanted
from wan_pipeline.jobs.training.trainings import Trainings
from wan_pipeline.jobs.watch import MAX_FAILED_STARTS, RestartBackoff
from wan_pipeline.settings import Settings
from wan_pipeline.storage.locks import WorkspaceLocks, is_held

LaunchTrainer = Callable[[Settings], RunningWorker]

logger = logging.getLogger(__name__)


def training_log(settings: Settings) -> Path:
    return settings.logs / "training.log"


def launch_trainer(settings: Settings) -> RunningWorker:
    """Start the process, which writes to its log. Raises OSError."""
    return launch(MODULE, settings, training_log(settings))


class TrainerSupervisor:
    """Keeps a training going. Its process outlives the app."""

    def __init__(
        self, settings: Settings, jobs: JobReader, trainings: Trainings, launch: LaunchTrainer = launch_trainer
    ) -> None:
        self._settings = settings
        self._jobs = jobs
        self._trainings = trainings
        self._launch = launch
        self._locks = WorkspaceLocks(settings.workspace)
        self._process: RunningWorker | None = None
        self._backoff = RestartBackoff()
        self._at_launch: list[tuple[str, TrainingState, int]] = []

    def poll(self) -> None:
        """Start it if a training waits, the device is not wanted, and none is alive. Raises StorageError, OSError."""
        if self._process is not None:
            if (code := self._process.poll()) is None:
                return
            self._process = None
            self._handle_exit(code)
        if not self._trainings.unfinished() or not self._backoff.may_start():
            return
        if not is_held(self._locks.trainer()) and not device_is_wanted(self._jobs, self._locks):
            self._at_launch = self._states()
            self._process = self._launch(self._settings)

    def _states(self) -> list[tuple[str, TrainingState, int]]:
        return [(job.id, job.state, job.deaths) for job in self._trainings.unfinished()]

    def _handle_exit(self, code: int) -> None:
        """Fail what waits when process after process ends before it claims a training: `claim` counts the others."""
        if code == 0 or self._states() != self._at_launch:
            self._backoff = RestartBackoff()
            return
        logger.warning("The process that trains ended with exit status %d.", code)
        self._backoff.add(code)
        if self._backoff.failed_starts >= MAX_FAILED_STARTS:
            self._backoff = RestartBackoff()
            self._trainings.fail_unfinished(
                f"The process that trains cannot go on (exit status {code}); the reason is in "
                f"{training_log(self._settings)}. Fix it and try again: nothing that was saved is lost."
            )
