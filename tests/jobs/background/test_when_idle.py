"""Work that waits for the device: what it raises is its own."""

from __future__ import annotations

import pytest
from filelock import Timeout

from wan_pipeline.jobs.background import when_idle as module
from wan_pipeline.jobs.background.when_idle import when_idle
from wan_pipeline.progress import Observer, Progress, Stage
from wan_pipeline.settings import Settings
from wan_pipeline.storage.database import Database
from wan_pipeline.storage.locks import WorkspaceLocks


@pytest.fixture(autouse=True)
def quick(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    Database.create(settings.database)
    monkeypatch.setattr(module, "QUEUE_POLL_SECONDS", 0.05)


def test_a_lock_that_the_work_waits_for_in_vain_is_its_error_and_not_the_devices(settings: Settings) -> None:
    tries: list[int] = []

    def work(observer: Observer) -> str:
        tries.append(1)
        if len(tries) == 1:
            raise Timeout("a lock of its own")
        return "done again"

    with pytest.raises(Timeout, match="a lock of its own"):
        when_idle(settings, lambda progress: None, work)


def test_it_waits_for_the_device_and_says_so(settings: Settings) -> None:
    device = WorkspaceLocks(settings.workspace).device()
    device.acquire()
    told: list[Stage] = []

    def report(progress: Progress) -> None:
        told.append(progress.stage)
        device.release()

    assert when_idle(settings, report, lambda observer: "done") == "done"
    assert told == [Stage.QUEUED] and not device.is_locked
