"""A heartbeat that goes on while the work does, and only then."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.queues import OpenQueue
from tests.support.studios import wait_for
from wan_pipeline.jobs.worker import heartbeat as heartbeat_module
from wan_pipeline.jobs.worker.heartbeat import Heartbeat


@pytest.fixture
def queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenQueue]:
    monkeypatch.setattr(heartbeat_module, "BEAT_SECONDS", 0.02)
    yield OpenQueue(tmp_path / "studio.sqlite3")


def beats(queue: OpenQueue) -> int:
    return queue.jobs.queue_state().beats


def test_the_first_beat_is_there_before_the_work_begins(queue: OpenQueue) -> None:
    with Heartbeat(queue.worker):
        state = queue.jobs.queue_state()
        assert (state.beats >= 1, state.worker_pid) == (True, os.getpid())


def test_it_beats_on_while_it_has_a_job(queue: OpenQueue) -> None:
    with Heartbeat(queue.worker) as heart:
        heart.set_job("some-job")
        before = beats(queue)
        wait_for(lambda: beats(queue) > before + 2, "more beats")
    after = beats(queue)
    assert beats(queue) == after


def test_an_idle_worker_writes_nothing(queue: OpenQueue) -> None:
    with Heartbeat(queue.worker) as heart:
        heart.set_job("some-job")
        wait_for(lambda: beats(queue) > 1, "a beat with the job")
        heart.set_job(None)
        before = beats(queue)
        time.sleep(0.2)  # nothing happens: that is what is tested
        assert beats(queue) <= before + 1  # one may have been under way


def test_it_falls_silent_when_the_work_stalls_and_comes_back_with_it(queue: OpenQueue) -> None:
    """A device that hangs keeps its thread, not this one."""
    with Heartbeat(queue.worker, stall_seconds=0.1) as heart:
        heart.set_job("some-job")
        time.sleep(0.2)  # the work does nothing: that is what is tested
        stalled = beats(queue)
        time.sleep(0.2)
        assert beats(queue) <= stalled + 1
        wait_for(lambda: heart.on_activity() or beats(queue) > stalled + 1, "beats after the work went on")
