"""Trainings in processes of their own, which the app starts and which outlive it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import psutil
import pytest

from tests.support.processes.warm import Warm, WarmProcess
from tests.support.studios import QUICK, opened, read_settings, wait_for, words_of, write_settings
from tests.support.trainings import of
from wan_pipeline.jobs.job import JobState
from wan_pipeline.jobs.training.job import TrainingState
from wan_pipeline.jobs.training.process import MODULE, train_next
from wan_pipeline.jobs.training.supervisor import TrainerSupervisor, training_log
from wan_pipeline.jobs.watch import MAX_FAILED_STARTS
from wan_pipeline.settings import Settings
from wan_pipeline.storage.locks import WorkspaceLocks
from wan_pipeline.studio import Studio


def warm_trainer(options: str) -> int:
    """What the process does once its program is imported."""
    settings = read_settings(options)
    with WorkspaceLocks(settings.workspace).trainer():
        train_next(settings)
    return 0


def refuse(options: str) -> int:
    return 3


class Launcher:
    """Starts trainers that are split off a warm process, and ends them."""

    def __init__(self, warm: Warm, target: str, **environment: str) -> None:
        self.started: list[WarmProcess] = []
        self._start = partial(warm.start, f"tests.jobs.training.test_supervisor:{target}", **environment)

    def __call__(self, settings: Settings) -> WarmProcess:
        self.started.append(self._start(write_settings(settings), log=training_log(settings)))
        return self.started[-1]


@contextmanager
def supervising(
    studio: Studio, warm: Warm, target: str = "warm_trainer", **environment: str
) -> Iterator[tuple[TrainerSupervisor, Launcher]]:
    launcher = Launcher(warm, target, **environment)
    try:
        yield TrainerSupervisor(studio.settings, studio.jobs, studio.trainings, launcher), launcher
    finally:
        for process in launcher.started:
            process.kill()


def test_killed_at_a_checkpoint_it_goes_on_to_the_same_weights(
    studio: Studio,
    pictures: Path,
    wanted: str,
    warm: Warm,
) -> None:
    training_id = studio.trainings.submit(of(pictures))
    with supervising(studio, warm, WAN_STUDIO_CRASH="checkpoint-saved:2") as (supervisor, launcher):
        supervisor.poll()
        assert launcher.started[0].wait() == -signal.SIGKILL
    left = studio.trainings.existing(training_id)
    assert (left.state, left.step) == (TrainingState.TRAINING, 20)
    with supervising(studio, warm) as (supervisor, launcher):  # as another app
        supervisor.poll()
        assert launcher.started[0].wait() == 0
        supervisor.poll()
        assert len(launcher.started) == 1  # nothing waits any more
    done = studio.trainings.existing(training_id)
    assert (done.state, done.deaths) == (TrainingState.DONE, 1)
    assert done.result is not None and done.result.sha256 == wanted


def test_it_is_started_only_while_nobody_wants_the_device(
    studio: Studio,
    pictures: Path,
    warm: Warm,
) -> None:
    with supervising(studio, warm) as (supervisor, launcher):
        supervisor.poll()
        studio.trainings.submit(of(pictures))
        clip = studio.submit(QUICK)
        supervisor.poll()
        studio.queue.cancel(clip)
        with WorkspaceLocks(studio.settings.workspace).verifier():
            supervisor.poll()
        with WorkspaceLocks(studio.settings.workspace).trainer():  # another app's
            supervisor.poll()
        assert launcher.started == []
        supervisor.poll()
        supervisor.poll()
        assert len(launcher.started) == 1


def test_a_process_that_cannot_start_fails_what_waits(studio: Studio, pictures: Path, warm: Warm) -> None:
    training_id = studio.trainings.submit(of(pictures))
    with supervising(studio, warm, "refuse") as (supervisor, launcher):
        for _ in range(MAX_FAILED_STARTS):
            supervisor.poll()
            launcher.started[-1].wait()
        supervisor.poll()
    assert "exit status 3" in str(studio.trainings.existing(training_id).error)


def trainers() -> list[psutil.Process]:
    return [each for each in psutil.Process().children() if MODULE in words_of(each)]


@pytest.mark.soak
@pytest.mark.skipif(os.name != "posix", reason="sends SIGKILL")
def test_the_app_starts_it_and_its_end_changes_nothing(settings: Settings, pictures: Path, wanted: str) -> None:
    with opened(settings) as studio:
        studio.start()
        training_id = studio.trainings.submit(of(pictures))
        wait_for(lambda: studio.trainings.existing(training_id).step > 0, "the training")
        clip = studio.submit(QUICK)
        wait_for(lambda: studio.jobs.existing(clip).state is JobState.DONE, "the clip")
        wait_for(lambda: studio.trainings.existing(training_id).state is not TrainingState.PAUSED, "it goes on")
    with Studio(settings) as other:
        wait_for(lambda: other.trainings.existing(training_id).state is TrainingState.DONE, "the end")
        result = other.trainings.existing(training_id).result
        assert result is not None and result.sha256 == wanted
    for process in trainers():
        process.wait(60)
