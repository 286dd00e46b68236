"""The handlers of the Queue room, on a real studio without a worker."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from gradio.utils import get_upload_folder
from PIL import Image

from tests.support.pages import NAMES, TEMPLATES, Reader, page_links
from tests.support.queues import OpenQueue
from tests.support.requests import make_request
from wan_pipeline.clips.inputs.files import InputFiles
from wan_pipeline.jobs.job import JobState
from wan_pipeline.models.spec import Mode
from wan_pipeline.progress import Progress, Stage
from wan_pipeline.studio import Studio
from wan_pipeline.ui.common.events import Updates
from wan_pipeline.ui.common.templates import file_url
from wan_pipeline.ui.queue.events import QueueEvents
from wan_pipeline.ui.queue.layout import QueueLayout
from wan_pipeline.ui.queue.shelves import SHELVES, Selection


class Tab:
    """A browser tab that shows the queue: it keeps what it was sent."""

    def __init__(self, studio: Studio) -> None:
        with gr.Blocks() as page:
            self.layout = QueueLayout(studio.presets, TEMPLATES)
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
    assert set(tab.refresh()) == {tab.events._links.badge}
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


@pytest.mark.soak
def test_what_cannot_be_done_any_more_is_said(studio: Studio, tab: Tab) -> None:
    job_id = studio.queue.submit(make_request())
    OpenQueue(studio.settings.database).worker.claim()
    for act in ("up", "top", "move-before"):
        assert "not waiting any more" in tab.click(act, job_id)[tab.layout.toast]
    assert "no job" in tab.click("history", "gone")[tab.layout.toast]


def test_05_a_cancel_and_a_clear_are_undone(studio: Studio, tab: Tab) -> None:
    ids = studio.queue.submit_many([(make_request(prompt=p), "") for p in "abc"])
    studio.queue.pause(ids[1])
    cancelled = tab.click("cancel", text=" ".join(ids[:2]))[tab.layout.toast]
    assert "2 clips cancelled" in cancelled and line(studio) == "c"
    cleared = tab.click("clear")[tab.layout.toast]
    assert "2 clips removed from the list" in cleared and studio.jobs.counts()[JobState.CANCELLED] == 0
    assert "2 clips put back" in tab.click("undo", text=undo_of(cleared))[tab.layout.toast]
    assert "2 clips put back" in tab.click("undo", text=undo_of(cancelled))[tab.layout.toast]
    assert line(studio) == "abc"
    assert studio.jobs.existing(ids[1]).state is JobState.PAUSED
    assert "0 clips put back" in tab.click("undo", text="x cleared:x done:y :")[tab.layout.toast]


def undo_of(toast: str) -> str:
    return str(dict(Reader(toast).attributes)["data-ids"])


def test_05_a_running_clip_is_asked_to_stop_and_nothing_is_to_be_undone(studio: Studio, tab: Tab) -> None:
    job_id = studio.queue.submit(make_request())
    OpenQueue(studio.settings.database).worker.claim()
    told = tab.click("cancel", job_id)[tab.layout.toast]
    assert "1 clip asked to stop" in told and "undo" not in Reader(told).acts


def test_09_many_rows_are_held_released_removed_and_retried(studio: Studio, tab: Tab) -> None:
    ids = studio.queue.submit_many([(make_request(prompt=p), "") for p in "abc"])
    both = " ".join(ids[:2])
    for act, said in (("hold", "held"), ("release", "released"), ("cancel", "cancelled"), ("retry", "queued again")):
        assert f"2 clips {said}" in tab.click(act, text=both)[tab.layout.toast]
    assert line(studio) == "cab"
    tab.click("cancel", text=both)
    assert "1 clip removed from the list" in tab.click("remove", ids[0])[tab.layout.toast]
    assert studio.jobs.counts()[JobState.CANCELLED] == 1


def test_09_a_picture_that_moves_is_the_rows_picture(studio: Studio, tab: Tab, tmp_path: Path) -> None:
    Image.new("RGB", (640, 384), "teal").save(tmp_path / "boat.png")
    name = InputFiles(studio.settings.inputs).save_picture(tmp_path / "boat.png")
    studio.queue.submit(make_request(mode=Mode.IMAGE_TO_VIDEO, image=name))
    rows = tab.refresh()[tab.layout.rows]
    served = Path(get_upload_folder()) / "thumbnails" / f"{name}.webp"
    assert file_url(served) in rows
    with Image.open(served) as picture:
        assert picture.size <= (304, 182)


@pytest.mark.soak
def test_a_long_queue_is_quick(studio: Studio, tab: Tab) -> None:
    studio.queue.submit_many([(make_request(prompt=f"clip {number}"), "") for number in range(500)])
    started = time.thread_time()
    page = tab.refresh()
    assert time.thread_time() - started < 1.0, "it is asked for each second"
    assert page[tab.layout.rows].count('<li class="job-row') == 50
