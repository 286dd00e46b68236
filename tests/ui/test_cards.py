"""The cards: right for every state, stable while nothing changes, and never markup from a prompt."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from tests.support.requests import make_request
from wan_pipeline.jobs.job import Job, JobState
from wan_pipeline.progress import Stage
from wan_pipeline.ui import cards

NAMES = cards.Names(models={"demo": "Demo"}, presets={"noir": "Noir"})
NASTY = "<script>alert(1)</script><img src=x onerror=alert(2)> \"' onclick=alert(3) ${alert(4)} {{x}} &amp;"
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def job(state: JobState, **changes: Any) -> Job:
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
        preview_version=0,
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
    """Tags and attributes that a browser would see."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize("state", list(JobState))
def test_what_was_typed_is_shown_as_text(state: JobState) -> None:
    nasty = job(state, request=replace(make_request(), prompt=NASTY, model=NASTY, preset=NASTY), error=NASTY)
    for html in (cards.stage(nasty, None, NAMES), cards.strip([nasty], nasty.id), cards.notice(NASTY)):
        page = Reader(html)
        assert "script" not in page.tags
        assert not any(name.startswith("on") for name, _ in page.attributes)
        assert not any(name == "src" and value == "x" for name, value in page.attributes)
    assert NASTY in Reader(cards.stage(nasty, None, NAMES)).text


def test_a_running_job_says_where_it_is() -> None:
    text = Reader(cards.stage(job(JobState.RUNNING), None, NAMES)).text
    assert "Denoising" in text
    assert "step 4/16" in text
    assert "3 s left" in text
    assert "Stopping" in cards.stage(job(JobState.RUNNING, cancel_requested=True), None, NAMES)


def test_a_preview_comes_with_the_page_for_its_file_changes_all_the_time() -> None:
    html = cards.stage(job(JobState.RUNNING, preview_version=1), b"a picture", NAMES)
    assert f'src="data:image/webp;base64,{b64encode(b"a picture").decode()}"' in html
    assert "preview" not in cards.stage(job(JobState.RUNNING), None, NAMES)


def test_a_finished_clip_plays_by_itself_and_tells_its_settings() -> None:
    html = cards.stage(job(JobState.DONE), None, NAMES)
    page = Reader(html)
    assert {("autoplay", None), ("muted", None), ("loop", None), ("playsinline", None)} <= set(page.attributes)
    assert str(make_request().seed) in page.text
    assert "Made in7 s" in page.text
    assert "a%20b.mp4" in html


def test_what_was_skipped_is_said() -> None:
    html = cards.stage(job(JobState.DONE, warnings=("LoRA 'ink': 2 of 40 <keys> fit nothing.",)), None, NAMES)
    assert "LoRA 'ink': 2 of 40 <keys> fit nothing." in Reader(html).text


def test_a_waiting_job_counts_those_before_it() -> None:
    assert "2 clips before it" in cards.stage(job(JobState.QUEUED), None, NAMES)
    assert "1 clip before it" in cards.stage(job(JobState.QUEUED, jobs_ahead=1), None, NAMES)


def test_a_failure_is_an_alert_with_its_sentence() -> None:
    html = cards.stage(job(JobState.FAILED, error="The disk is full; free 2 GB."), None, NAMES)
    assert 'role="alert"' in html
    assert "The disk is full; free 2 GB." in html


def test_the_strip_marks_the_clip_on_stage() -> None:
    one, two = job(JobState.DONE, id="one"), job(JobState.RUNNING, id="two")
    html = cards.strip([one, two], "one")
    assert html.count("aria-current") == 1
    assert html.index('data-job="one"') < html.index("aria-current") < html.index('data-job="two"')


def test_a_clip_that_is_gone_says_so() -> None:
    gone = job(JobState.DONE, clip=None, poster=None)
    assert "This clip is gone" in cards.stage(gone, None, NAMES)
    assert "gone" in Reader(cards.strip([gone], "")).text
    assert cards.download(gone) == ""


def test_a_clip_that_does_not_fit_is_a_warning_and_no_error() -> None:
    text = "does not fit: 9.1 of 8.0 GB; choose 480p & fewer frames"
    assert cards.estimate(text, fits=False) == (
        '<p class="estimate warning" role="status">Does not fit: 9.1 of 8.0 GB; choose 480p &amp; fewer frames</p>'
    )
    assert "warning" not in cards.estimate("fits: 6.8 of 8.0 GB, about 4 min")
