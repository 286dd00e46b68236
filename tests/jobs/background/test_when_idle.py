"""Work that waits until the queue is idle: what it held is freed while it still has the device."""

from __future__ import annotations

import weakref

import pytest
from filelock import Timeout

from wan_pipeline.errors import Cancelled, GenerationError
from wan_pipeline.jobs.background import when_idle as module
from wan_pipeline.jobs.background.when_idle import when_idle
from wan_pipeline.progress import Observer, Progress, Stage
from wan_pipeline.settings import Settings
from wan_pipeline.storage.database import Database
from wan_pipeline.storage.locks import WorkspaceLocks, is_held
from wan_pipeline.studio import Studio


class Model:
    """What only the collector frees: it refers to itself, as modules and hooks do."""

    def __init__(self) -> None:
        self.itself = self


@pytest.mark.parametrize("end", ["result", "error", "stop"])
def test_what_a_work_held_is_freed_before_the_device_is(studio: Studio, end: str) -> None:
    locks, held_when_freed = WorkspaceLocks(studio.settings.workspace), list[bool]()
    stopped = False

    def is_stopped() -> bool:
        return stopped

    def report(_: Progress) -> None:
        pass

    def work(_: Observer) -> str:
        nonlocal stopped
        model = Model()
        weakref.finalize(model, lambda: held_when_freed.append(is_held(locks.device())))
        match end:
            case "error":
                try:
                    raise ValueError
                except ValueError as error:
                    raise GenerationError("It failed.") from error
            case "stop":
                stopped = True
                raise Cancelled("stopped")
        return "made"

    match end:
        case "result":
            assert when_idle(studio.settings, report, work, is_stopped) == "made"
        case "error":
            with pytest.raises(GenerationError, match="It failed"):
                when_idle(studio.settings, report, work, is_stopped)
        case _:
            with pytest.raises(Cancelled):
                when_idle(studio.settings, report, work, is_stopped)
    assert held_when_freed == [True]
    assert not is_held(locks.device())


@pytest.fixture
def quick(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    Database.create(settings.database)
    monkeypatch.setattr(module, "QUEUE_POLL_SECONDS", 0.05)


def test_a_lock_that_the_work_waits_for_in_vain_is_its_error_and_not_the_devices(
    settings: Settings, quick: None
) -> None:
    tries: list[int] = []

    def work(observer: Observer) -> str:
        tries.append(1)
        if len(tries) == 1:
            raise Timeout("a lock of its own")
        return "done again"

    with pytest.raises(Timeout, match="a lock of its own"):
        when_idle(settings, lambda progress: None, work)


def test_it_waits_for_the_device_and_says_so(settings: Settings, quick: None) -> None:
    device = WorkspaceLocks(settings.workspace).device()
    device.acquire()
    told: list[Stage] = []

    def report(progress: Progress) -> None:
        told.append(progress.stage)
        device.release()

    assert when_idle(settings, report, lambda observer: "done") == "done"
    assert told == [Stage.QUEUED] and not device.is_locked
