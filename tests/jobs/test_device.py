"""A clip without the queue is alone on the device."""

from __future__ import annotations

import pytest
from filelock import FileLock

from wan_pipeline.errors import Cancelled
from wan_pipeline.jobs import device
from wan_pipeline.jobs.device import device_without_queue
from wan_pipeline.jobs.training.process import device_is_wanted
from wan_pipeline.progress import Progress, SilentObserver, Stage
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
