"""The handlers of the Queue room, on a real studio without a worker."""

from __future__ import annotations

import time
from typing import Any

import gradio as gr
import pytest

from tests.support.pages import NAMES, TEMPLATES, page_links
from tests.support.queues import OpenQueue
from tests.support.requests import make_request
from wan_pipeline.progress import Progress, Stage
from wan_pipeline.studio import Studio
from wan_pipeline.ui.common.events import Updates
from wan_pipeline.ui.queue.events import QueueEvents
from wan_pipeline.ui.queue.layout import QueueLayout
from wan_pipeline.ui.queue.shelves import SHELVES, Selection


class Tab:
    """A browser tab that shows the queue: it keeps what it was sent."""

    def __init__(self, studio: Studio) -> None:
        with gr.Blocks() as page:
            self.layout = QueueLayout(studio.presets.values(), TEMPLATES)
            links = page_links(page, studio)
        self.events = QueueEvents(studio, TEMPLATES, NAMES, self.layout, links)
        self.values: dict[Any, Any] = {self.layout.selection: Selection(), self.layout.shown: {}}

    def select(self, offset: int) -> None:
        self.values[self.layout.selection] = Selection(offset=offset)

    def refresh(self) -> Updates:
        return self._keep(self.events.refresh(self.values))

    def click(self, act: str, job_id: str = "", text: str = "") -> Updates:
        event = gr.EventData(None, {"act": act, "clip": job_id, "text": text})
        return self._keep(self.events.act(self.values, event))

    def _keep(self, updates: Updates) -> Updates:
        sent = {part: value for part, value in updates.items() if part in self.values and value != gr.skip()}
        self.values.update(sent)
        return updates


@pytest.fixture
def tab(studio: Studio) -> Tab:
    return Tab(studio)


def line(studio: Studio) -> str:
    return "".join(job.request.prompt for job in studio.jobs.jobs(SHELVES["next"].states, limit=1000))


def test_an_unchanged_queue_sends_nothing(studio: Studio, tab: Tab) -> None:
    job_id = studio.queue.submit(make_request())
    assert tab.layout.rows in tab.refresh()
    assert tab.refresh() == {tab.layout.shown: gr.skip()}
    worker = OpenQueue(studio.settings.database).worker
    assert worker.claim() is not None
    worker.progress(job_id, Progress(Stage.DENOISING, 1, 4, 3.0))
    tab.refresh()
    worker.progress(job_id, Progress(Stage.DENOISING, 2, 4, 2.0))
    changed = tab.refresh()
    assert tab.layout.now in changed
    assert tab.layout.rows not in changed, "a list that is sent anew loses what is being dragged or clicked"
    assert tab.layout.actions not in changed


def test_jobs_move_over_the_borders_of_pages(studio: Studio, tab: Tab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wan_pipeline.ui.queue.events.PAGE_SIZE", 2)
    ids = dict(zip("abcdef", studio.queue.submit_many([(make_request(prompt=p), "") for p in "abcdef"]), strict=True))
    for act, moved, offset, expected in (
        ("up", "c", 2, "acbdef"),
        ("down", "c", 0, "abcdef"),
        ("down", "d", 2, "abcedf"),
        ("up", "a", 0, "abcedf"),
        ("down", "f", 4, "abcedf"),
        ("top", "f", 4, "fabced"),
    ):
        tab.select(offset)
        tab.click(act, ids[moved])
        assert line(studio) == expected, (act, moved)
    tab.select(0)
    tab.click("move-before", ids["d"], ids["a"])
    assert line(studio) == "fdabce"
    tab.click("move-after", ids["f"], ids["e"])
    assert line(studio) == "dabcef"


def test_pages_and_shelves_are_turned(studio: Studio, tab: Tab) -> None:
    studio.queue.submit_many([(make_request(prompt=f"clip {number}"), "") for number in range(60)])
    assert "clip 59" in tab.click("next")[tab.layout.rows]
    assert tab.values[tab.layout.selection] == Selection(offset=50)
    assert "clip 59" not in tab.click("back")[tab.layout.rows]
    assert "Nothing done yet" in tab.click("shelf", text="done")[tab.layout.rows]
    assert tab.values[tab.layout.selection] == Selection("done")


def test_what_cannot_be_done_any_more_is_said(studio: Studio, tab: Tab) -> None:
    job_id = studio.queue.submit(make_request())
    OpenQueue(studio.settings.database).worker.claim()
    for act in ("up", "top", "move-before"):
        assert "not waiting any more" in tab.click(act, job_id)[tab.layout.toast]
    assert "no job" in tab.click("history", "gone")[tab.layout.toast]


def test_a_long_queue_is_quick(studio: Studio, tab: Tab) -> None:
    studio.queue.submit_many([(make_request(prompt=f"clip {number}"), "") for number in range(500)])
    started = time.perf_counter()
    page = tab.refresh()
    assert time.perf_counter() - started < 1.0, "it is asked for each second"
    assert page[tab.layout.rows].count('role="listitem"') == 50
