"""Who computes on the device is alone on it, and leaves nothing there."""

from __future__ import annotations

import math
import weakref
from contextlib import ExitStack
from threading import Thread

import pytest
from filelock import FileLock

from tests.support.studios import PATIENCE, QUICK, wait_for
from wan_pipeline.errors import Cancelled
from wan_pipeline.jobs import device
from wan_pipeline.jobs.background.when_idle import when_idle
from wan_pipeline.jobs.device import device_without_queue, wait_for_device
from wan_pipeline.jobs.job import JobState
from wan_pipeline.jobs.training.process import device_is_wanted
from wan_pipeline.jobs.worker import worker
from wan_pipeline.jobs.worker.worker import Worker
from wan_pipeline.progress import Observer, Progress, SilentObserver, Stage
from wan_pipeline.storage.locks import WorkspaceLocks, is_held
from wan_pipeline.studio import Studio


class Waiting(SilentObserver):
    """Frees the device once it is waited for, as a training does then."""

    def __init__(self, studio: Studio, held: FileLock) -> None:
        self.studio, self.held = studio, held
        self.stages: list[Stage] = []

    def progress(self, progress: Progress) -> None:
        self.stages.append(progress.stage)
        if device_is_wanted(self.studio.jobs, WorkspaceLocks(self.studio.settings.workspace)):
            self.held.release()


class Stopping(SilentObserver):
    def cancelled(self) -> bool:
        return True


def test_it_waits_for_the_device_which_trainings_yield(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "POLL_SECONDS", 0.01)
    held = WorkspaceLocks(studio.settings.workspace).device()
    with held:
        observer = Waiting(studio, held)
        with device_without_queue(studio.settings, observer):
            assert is_held(held)
        assert set(observer.stages) == {Stage.QUEUED} and not is_held(held)
    assert not device_is_wanted(studio.jobs, WorkspaceLocks(studio.settings.workspace))


def test_the_wait_can_be_stopped(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "POLL_SECONDS", 0.01)
    with (
        WorkspaceLocks(studio.settings.workspace).device(),
        pytest.raises(Cancelled),
        device_without_queue(studio.settings, Stopping()),
    ):
        pass


# A worker


class Patient(SilentObserver):
    """Frees the device after some reports."""

    def __init__(self, held: FileLock) -> None:
        self.held = held
        self.stages: list[Stage] = []

    def progress(self, progress: Progress) -> None:
        self.stages.append(progress.stage)
        if len(self.stages) == 3:
            self.held.release()


def test_a_worker_waits_for_a_clip_without_the_queue_however_long_it_takes(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(device, "DEVICE_SECONDS", 0.0)
    locks = WorkspaceLocks(studio.settings.workspace)
    with locks.device() as held, ExitStack() as stack:
        with locks.one_shot():
            wait_for_device(stack, locks, 0, observer := Patient(held))
        assert observer.stages == [Stage.QUEUED] * 3 + [Stage.LOADING]
        assert is_held(locks.device())


def test_it_goes_on_beside_a_process_that_hangs(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(device, "DEVICE_SECONDS", 0.0)
    locks = WorkspaceLocks(studio.settings.workspace)
    with locks.device() as held, ExitStack() as stack:
        wait_for_device(stack, locks, 0, observer := Patient(held))
        assert observer.stages == [Stage.QUEUED, Stage.LOADING]


class NoEngine:
    """Nothing is rendered."""

    def close(self) -> None:
        pass


def test_a_job_whose_worker_waits_for_the_device_says_so_and_can_be_cancelled(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "POLL_SECONDS", 0.01)
    job_id = studio.submit(QUICK)
    thread = Thread(target=Worker(studio.settings, lambda *_: NoEngine()).run, daemon=True)
    with WorkspaceLocks(studio.settings.workspace).device():
        thread.start()
        wait_for(
            lambda: (job := studio.jobs.existing(job_id)).state is JobState.RUNNING and job.stage is Stage.QUEUED,
            "the worker to wait",
        )
        studio.queue.cancel(job_id)
        thread.join(PATIENCE)
    assert studio.jobs.existing(job_id).state is JobState.CANCELLED


def test_an_idle_worker_looks_for_guests_and_left_jobs_only_now_and_then(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    polls, looks = iter([True] * 20 + [False]), list[str]()
    monkeypatch.setattr(worker, "POLL_SECONDS", 0.0)
    monkeypatch.setattr(worker, "RECOVERY_SECONDS", math.inf)
    monkeypatch.setattr(worker, "GUEST_POLL_SECONDS", math.inf)
    monkeypatch.setattr(worker, "recover_unwatched", lambda *_: looks.append("left jobs"))
    monkeypatch.setattr(WorkspaceLocks, "device_guests", lambda _: looks.append("guests") or ())
    monkeypatch.setattr(WorkspaceLocks, "any_app_is_alive", lambda _: next(polls))
    Worker(studio.settings, lambda *_: NoEngine()).run()
    assert next(polls, None) is None and looks == ["left jobs", "guests"]


# Work that gives way


class Weights:
    """What refers to itself, as a model with hooks does."""

    def __init__(self) -> None:
        self.hook = self


@pytest.mark.soak
def test_work_that_gives_way_frees_its_memory_before_the_device(studio: Studio) -> None:
    locks, freed = WorkspaceLocks(studio.settings.workspace), list[bool]()

    def work(observer: Observer) -> list[bool]:
        if freed:
            return freed
        weights = Weights()
        weakref.finalize(weights, lambda: freed.append(is_held(locks.device())))
        raise Cancelled

    assert when_idle(studio.settings, lambda progress: None, work) == [True]
