"""One piece of work at a time, beside the caller."""

from __future__ import annotations

from threading import Event, Thread, current_thread

import pytest

from wan_pipeline.jobs.worker.saver import Saver


def test_work_goes_on_beside_the_caller_and_one_at_a_time() -> None:
    saver, may_end = Saver(), Event()
    done: list[str] = []

    def first() -> None:
        may_end.wait(10)
        done.append(f"first in {current_thread().name}")

    saver.start(first)
    assert not saver.is_idle()
    may_end.set()
    saver.start(lambda: done.append("second"))
    assert done[0].startswith("first in saver")
    saver.wait()
    assert done[1:] == ["second"]
    assert saver.is_idle()
    saver.close()


@pytest.mark.parametrize("ask", [Saver.wait, Saver.is_idle, lambda saver: saver.start(print)])
def test_what_goes_wrong_reaches_the_caller_once(ask: object) -> None:
    saver = Saver()
    saver.start(lambda: 1 / 0)
    saver._pool.shutdown()
    with pytest.raises(ZeroDivisionError):
        ask(saver)  # type: ignore[operator]
    assert saver.is_idle()


def test_closing_waits_and_raises_nothing() -> None:
    saver, may_end, closed = Saver(), Event(), Event()

    def save() -> None:
        may_end.wait(10)
        raise ZeroDivisionError

    saver.start(save)
    closing = Thread(target=lambda: (saver.close(), closed.set()))
    closing.start()
    assert not closed.wait(0.1)
    may_end.set()
    assert closed.wait(10)
    closing.join()
