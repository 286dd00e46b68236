"""The queue as HTML: each state says what it is and offers what can be done, and nothing typed becomes markup."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import gradio as gr
import pytest

from tests.support.queues import OpenQueue
from tests.support.requests import make_request
from tests.ui.test_cards import NAMES, NASTY, Reader, job
from wan_pipeline.jobs.job import Event, EventKind, JobState, QueueState
from wan_pipeline.progress import Progress, Stage
from wan_pipeline.requests.request import LoraChoice
from wan_pipeline.studio import Studio
from wan_pipeline.ui import queue_cards
from wan_pipeline.ui.filling import Filler
from wan_pipeline.ui.queue_cards import SHELVES
from wan_pipeline.ui.queue_handlers import QueueHandlers
from wan_pipeline.ui.queue_tab import build_queue
from wan_pipeline.ui.stage import build_stage

STATE = QueueState(False, False, None, 0, None, None)
NONE = dict.fromkeys(JobState, 0)


def row(state: JobState, **changes: Any) -> str:
    shelf = next((name for name, each in SHELVES.items() if state in each.states), "next")
    return queue_cards.rows([job(state, **changes)], shelf, 0, 1, NAMES)


def acts(html: str) -> set[str]:
    return {value for name, value in Reader(html).attributes if name == "data-act" and value}


@pytest.mark.parametrize("state", list(JobState))
def test_what_was_typed_is_shown_as_text(state: JobState) -> None:
    request = replace(make_request(), prompt=NASTY, model=NASTY, preset=NASTY, loras=(LoraChoice(NASTY),))
    nasty = job(state, id=NASTY, request=request, error=NASTY, project=NASTY, plan=NASTY, plan_steps_down=1)
    event = Event(1, NASTY, datetime.now(UTC), EventKind.FAILED, NASTY)
    for html in (
        queue_cards.rows([nasty], "next", 0, 1, NAMES),
        queue_cards.now(nasty, None, NAMES) + queue_cards.now_acts(nasty),
        queue_cards.history(nasty, [event], NASTY),
    ):
        page = Reader(html)
        assert "script" not in page.tags
        assert not any(name.startswith("on") for name, _ in page.attributes)
        assert not any(name == "src" and value == "x" for name, value in page.attributes)
        assert NASTY in page.text


def test_each_state_offers_what_can_be_done() -> None:
    assert {"top", "up", "down", "edit", "hold", "cancel", "duplicate"} <= acts(row(JobState.QUEUED))
    assert "release" in acts(row(JobState.PAUSED))
    assert acts(row(JobState.INTERRUPTED)) == {"hold", "history", "cancel"}
    for state in (JobState.FAILED, JobState.QUARANTINED, JobState.CANCELLED):
        assert {"retry", "history"} <= acts(row(state))
        assert not {"up", "edit", "cancel"} & acts(row(state))
    assert "retry" not in acts(row(JobState.DONE))


def test_a_row_says_what_went_wrong_and_what_was_done_about_it() -> None:
    text = Reader(row(JobState.QUARANTINED, error="Its worker died twice.")).text
    assert "Quarantined" in text
    assert "Its worker died twice." in text
    assert "from step 12" in Reader(row(JobState.DONE, resumed_from=12, attempts=2)).text
    assert "smaller memory plan “tiled”" in Reader(row(JobState.DONE, plan="tiled", plan_steps_down=1)).text
    assert "newer version" in Reader(row(JobState.QUEUED, request_error="It is of a newer version.")).text


def test_the_head_counts_and_tells_how_the_queue_stands() -> None:
    counts = NONE | {JobState.QUEUED: 2, JobState.INTERRUPTED: 1, JobState.PAUSED: 1, JobState.RUNNING: 1}
    text = Reader(queue_cards.head(counts, STATE, 250.0, True)).text
    assert "4 clips to go" in text
    assert "about 4 min" in text
    assert "1 held by you" in text
    assert "Paused" in Reader(queue_cards.head(counts, replace(STATE, paused=True), 1.0, False)).text
    assert "when this clip is done" in queue_cards.head(counts, replace(STATE, stops_after_current=True), 1.0, True)
    assert "The queue is empty" in queue_cards.head(NONE, STATE, 0.0, False)


def test_the_heads_buttons_fit_the_queue() -> None:
    busy = NONE | {JobState.QUEUED: 1, JobState.RUNNING: 1}
    assert acts(queue_cards.head_acts(NONE, STATE, False)) == set()
    assert acts(queue_cards.head_acts(busy, STATE, True)) == {"pause-all", "stop-after", "export"}
    assert "stop-after" not in acts(queue_cards.head_acts(busy, STATE, False))
    assert "resume-all" in acts(queue_cards.head_acts(NONE, replace(STATE, paused=True), False))
    assert acts(queue_cards.head_acts(NONE | {JobState.FAILED: 1}, STATE, False)) == {"retry-failed", "clear"}


# The handlers, on a real studio without a worker --------------------------------------------------------------------


@pytest.fixture
def handlers(studio: Studio) -> QueueHandlers:
    with gr.Blocks():
        rooms, tabs = gr.Tabs(), gr.Tabs()
        view, stage = build_queue(studio.presets), build_stage(NAMES)
    return QueueHandlers(studio, NAMES, view, stage, Filler(rooms, tabs, {}))


def look(shelf: str = "next", offset: int = 0) -> dict[str, Any]:
    return {"shelf": shelf, "offset": offset}


def click(handlers: QueueHandlers, act: str, job_id: str = "", text: str = "", offset: int = 0) -> dict[Any, Any]:
    event = gr.EventData(None, {"act": act, "clip": job_id, "text": text})
    return handlers.act(look(offset=offset), {}, event)


def line(studio: Studio) -> str:
    return "".join(job.request.prompt for job in studio.jobs.jobs(SHELVES["next"].states, limit=1000))


def test_an_unchanged_queue_sends_nothing(studio: Studio, handlers: QueueHandlers) -> None:
    job_id = studio.queue.submit(make_request())
    first = handlers.refresh(look(), {})
    shown = first[handlers._view.shown]
    again = handlers.refresh(look(), shown)
    assert again == {handlers._view.shown: gr.skip()}
    assert OpenQueue(studio.settings.database).worker.claim() is not None
    OpenQueue(studio.settings.database).worker.progress(job_id, Progress(Stage.DENOISING, 1, 4, 3.0), 0)
    shown = handlers.refresh(look(), shown)[handlers._view.shown]
    OpenQueue(studio.settings.database).worker.progress(job_id, Progress(Stage.DENOISING, 2, 4, 2.0), 0)
    changed = handlers.refresh(look(), shown)
    assert handlers._view.now in changed
    assert handlers._view.rows not in changed, "a list that is sent anew loses what is being dragged or clicked"
    assert handlers._view.acts not in changed


def test_jobs_move_over_the_borders_of_pages(
    studio: Studio, handlers: QueueHandlers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wan_pipeline.ui.queue_handlers.PAGE_SIZE", 2)
    ids = dict(zip("abcdef", studio.queue.submit_many([(make_request(prompt=p), "") for p in "abcdef"]), strict=True))
    for act, moved, offset, expected in (
        ("up", "c", 2, "acbdef"),
        ("down", "c", 0, "abcdef"),
        ("down", "d", 2, "abcedf"),
        ("up", "a", 0, "abcedf"),
        ("down", "f", 4, "abcedf"),
        ("top", "f", 4, "fabced"),
    ):
        click(handlers, act, ids[moved], offset=offset)
        assert line(studio) == expected, (act, moved)
    click(handlers, "move-before", ids["d"], ids["a"])
    assert line(studio) == "fdabce"
    click(handlers, "move-after", ids["f"], ids["e"])
    assert line(studio) == "dabcef"


def test_what_cannot_be_done_any_more_is_said(studio: Studio, handlers: QueueHandlers) -> None:
    job_id = studio.queue.submit(make_request())
    OpenQueue(studio.settings.database).worker.claim()
    for act in ("up", "top", "move-before"):
        assert "not waiting any more" in click(handlers, act, job_id)[handlers._view.toast]
    assert "no job" in click(handlers, "history", "gone")[handlers._view.toast]


def test_a_long_queue_is_quick(studio: Studio, handlers: QueueHandlers) -> None:
    studio.queue.submit_many([(make_request(prompt=f"clip {number}"), "") for number in range(500)])
    started = time.perf_counter()
    page = handlers.refresh(look(), {})
    assert time.perf_counter() - started < 1.0, "it is asked for each second"
    assert page[handlers._view.rows].count("<article") == 50
