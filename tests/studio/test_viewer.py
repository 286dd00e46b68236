"""A second app on a workspace watches and adds, and can do nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from html.parser import HTMLParser
from pathlib import Path

import gradio as gr
import pytest
from filelock import FileLock

from tests.support.files.clips import put
from tests.support.pages import NAMES, page_links
from tests.support.requests import make_request
from tests.support.studios import QUICK, wait_for
from wan_pipeline.errors import LookingOnError
from wan_pipeline.jobs.job import JobState
from wan_pipeline.jobs.launch import RunningWorker
from wan_pipeline.jobs.many import ManyJobs
from wan_pipeline.jobs.supervisor import Supervisor
from wan_pipeline.settings import Settings
from wan_pipeline.storage.locks import WorkspaceLocks
from wan_pipeline.studio import LOOKING_ON, Studio
from wan_pipeline.ui.common.parts.many_clips import many_bar
from wan_pipeline.ui.common.templates import Templates
from wan_pipeline.ui.common.viewer import BANNER, refusal_of
from wan_pipeline.ui.gallery import html as gallery_html
from wan_pipeline.ui.head import PageHead
from wan_pipeline.ui.queue import html as queue_html
from wan_pipeline.ui.queue.shelves import Selection

MAY = {
    "queue": {"submit", "submit_many", "reserve_clip"},
    "gallery": {
        *("problems", "notice", "page", "count_newer", "clip", "find", "at", "of_project"),
        *("existing", "of_files", "facets", "rescan", "newest_posters"),
    },
    "bundles": {"write"},
    "lora_notes": {"all"},
    "model_manager": {"entries", "entry", "all_entries", "sound_entries", "download_plan", "free_bytes"},
    "transfers": {"of"},
    "verifications": {"of"},
    "keys": {
        *("create_for_visitor", "create_for_server", "end", "remove_expired"),
        *("find", "record_use", "list", "is_valid", "rename_projects"),
    },
}
"""What an app that looks on may ask for; every other method of these rooms changes what is there."""


class Buttons(HTMLParser):
    """The names of the buttons and boxes in a piece of HTML, by whether they can be used."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.enabled: set[str] = set()
        self.disabled: dict[str, str | None] = {}
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        name = given.get("data-act") or given.get("data-change")
        if name and "disabled" in given:
            self.disabled[name] = given.get("title")
        elif name:
            self.enabled.add(name)


@pytest.fixture
def main_lock(settings: Settings) -> Iterator[FileLock]:
    """Held as by the app that opened the workspace first."""
    lock = WorkspaceLocks(settings.workspace).main_app()
    with lock:
        yield lock


@pytest.fixture
def viewer(settings: Settings, main_lock: FileLock) -> Iterator[Studio]:
    def no_worker(settings: Settings) -> RunningWorker:
        raise AssertionError("an app that looks on starts no worker")

    with Studio(settings, partial(Supervisor, launch=no_worker, poll_seconds=0.05)) as studio:
        studio.start()
        yield studio


def test_13_nor_are_many_jobs_changed_at_once(viewer: Studio) -> None:
    names = {name for name in vars(ManyJobs) if not name.startswith("_")}
    assert "clear" in names
    for name in names:
        with pytest.raises(LookingOnError, match="opened this workspace first"):
            getattr(viewer.queue.many, name)()


@pytest.mark.parametrize("room", MAY)
def test_13_whatever_changes_the_workspace_is_refused_by_the_studio(viewer: Studio, room: str) -> None:
    """A method that is added later is refused too, or is named above."""
    rooms = getattr(viewer, room)
    names = {name for name in vars(type(rooms)) if not name.startswith("_")} - MAY[room]
    assert names
    for name in names:
        with pytest.raises(LookingOnError, match="opened this workspace first"):
            getattr(rooms, name)()


def test_13_clips_are_added_and_those_of_others_stay(viewer: Studio) -> None:
    job_id = viewer.submit(QUICK)
    for change in (lambda: viewer.queue.cancel(job_id), lambda: viewer.edit(job_id, QUICK), viewer.queue.pause_queue):
        with pytest.raises(LookingOnError):
            change()
    job = viewer.jobs.job(job_id)
    assert job is not None and job.state is JobState.QUEUED
    assert not viewer.jobs.queue_state().paused


def test_13_what_is_refused_is_disabled_with_the_reason(viewer: Studio) -> None:
    templates = Templates({"refusal": refusal_of(viewer)})
    viewer.queue.submit(make_request())
    put(viewer.settings.clips, "a")
    viewer.gallery.rescan()
    rows = queue_html.rows(templates, NAMES, viewer.jobs.active(), Selection(), 1)
    sheet = gallery_html.sheet(templates, NAMES, viewer.gallery.clip("job-a"))
    bar = many_bar(templates, [Path("a.webp"), Path("b.webp")], [], in_gallery=True)
    buttons = Buttons(rows + sheet + bar)
    assert {"cancel", "edit", "star", "note", "bin", "verify", "many-bin"} <= set(buttons.disabled)
    assert set(buttons.disabled.values()) == {LOOKING_ON}
    assert {"duplicate", "reuse", "share", "compare"} <= buttons.enabled
    assert "draggable" not in rows


def test_13_the_banner_goes_and_the_buttons_work_when_this_app_takes_over(viewer: Studio, main_lock: FileLock) -> None:
    templates = Templates({"refusal": refusal_of(viewer)})
    with gr.Blocks() as page:
        head = PageHead(viewer, templates)
        head.wire(page_links(page, viewer))
    told = head.show_notices()
    assert BANNER in told[head.banner] and "data-looks-on" in told[head.banner], "by which its clock ticks"
    main_lock.release()
    wait_for(lambda: not viewer.is_viewer, "taking over")
    told = head.show_notices()
    assert BANNER not in told[head.banner] and "data-looks-on" not in told[head.banner]
    assert "cancel" in Buttons(templates.render("queue/now_actions.html", names=["cancel"], job={"id": "1"})).enabled
