"""What the tests of the page share: jobs to show, hostile text, and HTML as a browser reads it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import gradio as gr

from tests.support.requests import make_request
from wan_pipeline.jobs.job import Job, JobState
from wan_pipeline.progress import Stage
from wan_pipeline.requests.presets import load_presets
from wan_pipeline.settings import REPOSITORY
from wan_pipeline.studio import Studio
from wan_pipeline.ui.common.names import Names
from wan_pipeline.ui.common.projects import project_switch
from wan_pipeline.ui.common.room import PageLinks, RoomId
from wan_pipeline.ui.common.templates import Templates
from wan_pipeline.ui.create import CreateRoom

TEMPLATES = Templates()
NAMES = Names(models={"demo": "Demo"}, presets=load_presets(REPOSITORY / "presets")[0])
NASTY = "<script>alert(1)</script><img src=x onerror=alert(2)> \"' onclick=alert(3) ${alert(4)} {{x}} &amp;"
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def make_job(state: JobState, **changes: Any) -> Job:
    """A job in its fourth of 16 steps, which took 7 s if it is done."""
    done = state is JobState.DONE
    plain = Job(
        id="0123456789abcdef",
        state=state,
        request=make_request(),
        created_at=NOW,
        started_at=NOW,
        finished_at=NOW + timedelta(seconds=7),
        stage=Stage.DENOISING,
        step=4,
        total=16,
        eta_seconds=3.2,
        cancel_requested=False,
        attempts=1,
        error=None,
        clip=Path("clips/a b.mp4") if done else None,
        poster=Path("clips/a b.jpg") if done else None,
        frames_sha256=None,
        seconds={},
        warnings=(),
        jobs_ahead=2,
    )
    return replace(plain, **changes)


class Reader(HTMLParser):
    """Tags, attributes and text that a browser would see."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.html = html
        self.feed(html)

    @property
    def acts(self) -> set[str]:
        """What its buttons do."""
        return {value for name, value in self.attributes if name == "data-act" and value}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


def assert_harmless(html: str) -> None:
    """NASTY is in it as text, and only as text."""
    page = Reader(html)
    assert "script" not in page.tags
    assert not any(name.startswith("on") for name, _ in page.attributes)
    assert not any(name == "src" and value == "x" for name, value in page.attributes)
    assert NASTY in page.text


def page_links(page: gr.Blocks, studio: Studio) -> PageLinks:
    """What a room gets of the page, with a real Create room. To be called while `page` is drawn."""
    with gr.Tabs() as rooms:
        tabs = {room: gr.Tab(room.value, id=room.value) for room in RoomId}
        with tabs[RoomId.CREATE]:
            create = CreateRoom(studio, TEMPLATES, NAMES)
    return PageLinks(page, rooms, tabs, create.filler(rooms), create.job, gr.Textbox(), project_switch())
