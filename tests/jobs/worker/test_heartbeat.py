"""A heartbeat that goes on while the work does, and only then."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.studios import wait_for
from wan_pipeline.jobs.editor import JobStore
from wan_pipeline.jobs.worker import heartbeat as heartbeat_module
from wan_pipeline.jobs.worker.heartbeat import Heartbeat


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[JobStore]:
    monkeypatch.setattr(heartbeat_module, "BEAT_SECONDS", 0.02)
    yield JobStore(tmp_path / "studio.sqlite3")


def beats(store: JobStore) -> int:
    return store.queue_state().beats


def test_the_first_beat_is_there_before_the_work_begins(store: JobStore) -> None:
    with Heartbeat(store):
        state = store.queue_state()
        assert (state.beats >= 1, state.worker_pid) == (True, os.getpid())


def test_it_beats_on_with_the_job_it_has(store: JobStore) -> None:
    with Heartbeat(store) as heart:
        heart.take("some-job")
        wait_for(lambda: store.queue_state().worker_job == "some-job", "a beat with the job")
        before = beats(store)
        wait_for(lambda: beats(store) > before + 2, "more beats")
    after = beats(store)
    assert beats(store) == after


def test_an_idle_worker_writes_nothing(store: JobStore) -> None:
    with Heartbeat(store) as heart:
        heart.take("some-job")
        wait_for(lambda: store.queue_state().worker_job == "some-job", "a beat with the job")
        heart.take(None)
        wait_for(lambda: store.queue_state().worker_job is None, "the last beat")
        before = beats(store)
        time.sleep(0.2)  # nothing happens: that is what is tested
        assert beats(store) == before


def test_it_falls_silent_when_the_work_stalls_and_comes_back_with_it(store: JobStore) -> None:
    """A device that hangs keeps its thread, not this one."""
    with Heartbeat(store, stall_seconds=0.1) as heart:
        heart.take("some-job")
        time.sleep(0.2)  # the work does nothing: that is what is tested
        stalled = beats(store)
        time.sleep(0.2)
        assert beats(store) <= stalled + 1
        wait_for(lambda: heart.stir() or beats(store) > stalled + 1, "beats after the work went on")
