"""A process of its own: started, followed by any app, stopped; its death is noticed, and damaged files are not."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest

from tests.support.hostile import BAD_JSON, BAD_VALUES, short
from tests.support.processes.counting import Count, lock, process, state_file
from tests.support.studios import wait_for
from wan_pipeline.jobs.background.process import BackgroundProcess, run_alone
from wan_pipeline.settings import Settings
from wan_pipeline.storage.locks import is_held


@pytest.fixture
def counting(settings: Settings) -> Iterator[BackgroundProcess]:
    """Started, and stopped at the end."""
    counting = process(settings)
    counting.start(state_file(settings), Count(), "counts")
    yield counting
    state_file(settings).request_stop()
    wait_for(lambda: not counting.is_alive, "the end")


def number(settings: Settings, counting: BackgroundProcess) -> int:
    state = counting.state(state_file(settings))
    assert state is not None
    return state.number


def test_nothing_is_known_before_it_was_started(settings):
    assert process(settings).state(state_file(settings)) is None and not process(settings).is_alive


def test_it_is_followed_and_stopped_by_any_app(settings, counting):
    assert counting.is_alive, "though it holds no lock yet"
    assert counting.state(state_file(settings)) is not None
    other = process(settings)
    wait_for(lambda: number(settings, counting) > 0, "it counts")
    wait_for(
        lambda: other.is_alive and not other.state(state_file(settings)).is_over, "another app sees it, by its lock"
    )
    state_file(settings).request_stop()
    wait_for(lambda: not other.is_alive, "the end")
    state = other.state(state_file(settings))
    assert state == counting.state(state_file(settings)) and state.end == "stopped"


def test_it_is_started_again_after_its_end_and_knows_of_no_earlier_stop(settings, counting):
    state_file(settings).request_stop()
    wait_for(lambda: counting.state(state_file(settings)).is_over, "the last state, maybe before the end")
    counting.start(state_file(settings), Count(), "counts")
    wait_for(lambda: number(settings, counting) > 0, "it counts")
    assert not counting.state(state_file(settings)).is_over


def test_one_that_ended_before_it_was_done_is_told_apart(settings):
    counting = process(settings)
    counting.start(state_file(settings), Count(), "dies")
    wait_for(lambda: counting.state(state_file(settings)).is_over, "its death")
    assert counting.state(state_file(settings)) == process(settings).state(state_file(settings))
    assert counting.state(state_file(settings)) == Count(1, "died: count.log")


def test_one_at_a_time(settings, caplog):
    done = []
    with lock(settings), caplog.at_level(logging.WARNING):
        busy = lock(settings)
        busy.timeout = 0
        run_alone(busy, lambda: done.append(1), "counting")
    assert done == [] and "another process is doing it" in caplog.text
    run_alone(lock(settings), lambda: done.append(1), "counting")
    assert done == [1] and not is_held(lock(settings))


@pytest.mark.parametrize("text", BAD_JSON.values(), ids=BAD_JSON)
def test_a_damaged_file_counts_as_none_and_is_told_once(settings, caplog, text):
    file = state_file(settings)
    file.write(Count(3))
    path = settings.cache / "counts" / "count.json"
    path.write_bytes(text)
    with caplog.at_level(logging.WARNING):
        assert file.read() is None and file.read() is None
    assert len(caplog.records) == 1 and "cannot be used" in caplog.text
    file.write(Count(3))
    assert file.read() == Count(3)


@pytest.mark.parametrize("value", BAD_VALUES, ids=short)
@pytest.mark.parametrize("key", ["number", "end"])
def test_a_value_of_another_kind_counts_as_none(settings, key, value):
    file = state_file(settings)
    file.write(Count())
    (settings.cache / "counts" / "count.json").write_text(json.dumps({key: value}))
    state = file.read()
    assert state is None or getattr(state, key) == value
