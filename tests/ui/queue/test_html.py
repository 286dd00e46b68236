"""The HTML of the Queue room: each state says what it is and offers what can be done; typed text stays text."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.support.pages import NAMES, NASTY, TEMPLATES, Reader, assert_harmless, make_job
from tests.support.requests import make_request
from wan_pipeline.jobs.disk_space import NoRoom
from wan_pipeline.jobs.job import Event, EventKind, JobState, QueueState
from wan_pipeline.requests.request import LoraChoice
from wan_pipeline.ui.queue import html
from wan_pipeline.ui.queue.shelves import ACTIONS, SHELVES, STATE_WORDS, Selection

STATE = QueueState(False, False, 0, None)
NONE = dict.fromkeys(JobState, 0)


def row(state: JobState, **changes: Any) -> Reader:
    shelf = next((name for name, each in SHELVES.items() if state in each.states), "next")
    return Reader(html.rows(TEMPLATES, NAMES, [make_job(state, **changes)], Selection(shelf), 1))


def head(counts: dict[JobState, int], state: QueueState, seconds: float, *, running: bool = False) -> str:
    return Reader(html.head(TEMPLATES, counts, state, seconds, running=running)).text


def head_acts(counts: dict[JobState, int], state: QueueState, *, running: bool = False) -> set[str]:
    return Reader(html.head_actions(TEMPLATES, counts, state, running=running)).acts


@pytest.mark.parametrize("state", list(JobState))
def test_what_was_typed_is_shown_as_text(state: JobState) -> None:
    request = replace(make_request(), prompt=NASTY, model=NASTY, preset=NASTY, loras=(LoraChoice(NASTY),))
    nasty = make_job(state, id=NASTY, request=request, error=NASTY, project=NASTY, plan=NASTY, plan_steps_down=1)
    event = Event(1, datetime.now(UTC), EventKind.FAILED, NASTY)
    assert_harmless(html.rows(TEMPLATES, NAMES, [nasty], Selection(), 1))
    assert_harmless(html.now(TEMPLATES, NAMES, nasty, None) + html.now_actions(TEMPLATES, nasty))
    assert_harmless(html.history(TEMPLATES, nasty, [event], NASTY))
    assert_harmless(html.file_report(TEMPLATES, NASTY, NASTY, [NASTY]))


def test_every_state_has_words_and_buttons() -> None:
    assert set(STATE_WORDS) == set(ACTIONS) == set(JobState)
    assert {state for shelf in SHELVES.values() for state in shelf.states} == set(JobState) - {JobState.RUNNING}


def test_each_state_offers_what_can_be_done() -> None:
    assert {"top", "up", "down", "edit", "hold", "cancel", "duplicate"} <= row(JobState.QUEUED).acts
    assert "release" in row(JobState.PAUSED).acts
    assert row(JobState.INTERRUPTED).acts == {"hold", "history", "cancel"}
    for state in (JobState.FAILED, JobState.QUARANTINED, JobState.CANCELLED):
        assert {"retry", "history"} <= row(state).acts
        assert not {"up", "edit", "cancel"} & row(state).acts
    assert "retry" not in row(JobState.DONE).acts


def test_a_row_says_what_went_wrong_and_what_was_done_about_it() -> None:
    text = row(JobState.QUARANTINED, error="Its worker died twice.").text
    assert "Quarantined" in text
    assert "Its worker died twice." in text
    assert "from step 12" in row(JobState.DONE, resumed_from=12, attempts=2).text
    assert "smaller memory plan “tiled”" in row(JobState.DONE, plan="tiled", plan_steps_down=1).text
    assert "newer version" in row(JobState.QUEUED, request_error="It is of a newer version.").text


def test_the_head_counts_and_says_how_the_queue_stands() -> None:
    counts = NONE | {JobState.QUEUED: 2, JobState.INTERRUPTED: 1, JobState.PAUSED: 1, JobState.RUNNING: 1}
    text = head(counts, STATE, 250.0, running=True)
    assert "4 clips to go" in text
    assert "about 4 min" in text
    assert "1 held by you" in text
    assert "1 clip to go" in head(NONE | {JobState.QUEUED: 1}, STATE, 1.0)
    assert "1,500 clips to go" in head(NONE | {JobState.QUEUED: 1500}, STATE, 1.0)
    assert "Paused" in head(counts, replace(STATE, paused=True), 1.0)
    assert "when this clip is done" in head(counts, replace(STATE, stops_after_current=True), 1.0, running=True)
    assert "The queue is empty" in head(NONE, STATE, 0.0)


def test_09_a_queue_of_held_clips_is_not_said_to_be_empty() -> None:
    text = head(NONE | {JobState.PAUSED: 1}, STATE, 0.0)
    assert "1 clip held" in text and "empty" not in text


def test_05_a_pause_at_once_is_said_until_the_clip_waits_again() -> None:
    state = replace(STATE, paused=True, pauses_now=True)
    assert "saves its step and waits again" in head(NONE | {JobState.RUNNING: 1}, state, 9.0, running=True)
    assert "Pausing" not in head(NONE | {JobState.QUEUED: 1}, state, 9.0)


@pytest.mark.parametrize("state", list(JobState))
def test_09_a_row_has_two_icons_and_a_menu_with_words(state: JobState) -> None:
    shown = html.now_actions(TEMPLATES, make_job(state)) if state is JobState.RUNNING else row(state).html
    assert shown.count('class="sign') - shown.count("aria-haspopup") == 2
    assert shown.count('role="menuitem"') == len(ACTIONS[state]) - 2


@pytest.mark.parametrize("shelf", list(SHELVES))
def test_09_what_can_be_done_to_many_can_be_done_to_one(shelf: str) -> None:
    acts = Reader(html.bar(TEMPLATES, Selection(shelf), 1)).acts
    assert acts and acts <= set().union(*(ACTIONS[state] for state in SHELVES[shelf].states))
    assert html.bar(TEMPLATES, Selection(shelf), 0) == ""


def test_09_a_waiting_clip_shows_its_input_picture_or_a_plain_tile() -> None:
    """Never the picture of its style, which is of another clip."""
    job = make_job(JobState.QUEUED, request=make_request(preset="noir"))
    plain = html.rows(TEMPLATES, NAMES, [job], Selection(), 1)
    assert "<img" not in plain and 'class="mark"' in plain and "data-preset" not in plain
    shown = html.rows(TEMPLATES, NAMES, [job], Selection(), 1, lambda _: Path("thumbnails/a.webp"))
    assert "thumbnails/a.webp" in shown


def test_the_heads_buttons_fit_the_queue() -> None:
    busy = NONE | {JobState.QUEUED: 1, JobState.RUNNING: 1}
    assert head_acts(NONE, STATE) == set()
    assert head_acts(busy, STATE, running=True) == {"pause-now", "stop-after", "export"}
    assert head_acts(NONE | {JobState.QUEUED: 1}, STATE) == {"pause-all", "export"}
    stopping = head_acts(busy, replace(STATE, stops_after_current=True), running=True)
    assert stopping == {"resume-all", "pause-now", "export"}
    paused = replace(STATE, paused=True)
    assert "pause-now" in head_acts(busy, paused, running=True)
    assert "pause-now" not in head_acts(busy, replace(paused, pauses_now=True), running=True)
    assert "resume-all" in head_acts(NONE, replace(STATE, paused=True))
    assert head_acts(NONE | {JobState.FAILED: 1}, STATE) == {"retry-failed", "clear"}


def test_only_some_of_many_bad_rows_are_named() -> None:
    text = Reader(html.file_report(TEMPLATES, "shots.csv", "", [f"Row {number}" for number in range(1, 21)])).text
    assert "no clip that can be made" in text
    assert "Row 12" in text and "Row 13" not in text
    assert "and 8 more" in text


def test_23_a_queue_that_waits_for_room_says_how_much_and_no_path() -> None:
    state = replace(STATE, paused=True, no_room=NoRoom("The disk of /home/me is full.", ("/home/me",), 10**6))
    shown = html.head(TEMPLATES, dict.fromkeys(JobState, 0), state, 0.0, running=False)
    assert "a clip needs 33.0 MB free. The queue goes on by itself when there is room." in shown
    assert "/home" not in shown
