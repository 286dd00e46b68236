"""Work that waits until the queue is idle: what it held is freed while it still has the device."""

from __future__ import annotations

import weakref

import pytest

from wan_pipeline.errors import Cancelled, GenerationError
from wan_pipeline.jobs.background.when_idle import when_idle
from wan_pipeline.progress import Observer, Progress
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
