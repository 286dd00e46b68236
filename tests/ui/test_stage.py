"""What the stage follows and shows, on a real studio without a worker."""

from __future__ import annotations

import pytest

from tests.support.requests import make_request
from wan_pipeline.jobs.editor import JobStore
from wan_pipeline.jobs.job import Finished
from wan_pipeline.settings import Settings
from wan_pipeline.studio import Studio
from wan_pipeline.ui import cards
from wan_pipeline.ui.stage import _wanted, first_job

NAMES = cards.Names(models={}, presets={})


@pytest.fixture
def store(settings: Settings) -> JobStore:
    return JobStore(settings.database)


def finish_one(store: JobStore, settings: Settings) -> str:
    """A finished job whose files are there, though they hold nothing."""
    request = make_request()
    store.submit(request)
    job = store.claim()
    assert job is not None
    clip, poster = (settings.clips / f"{job.id}{suffix}" for suffix in (".mp4", ".webp"))
    clip.touch()
    poster.touch()
    store.finish(job.id, Finished(request, clip, poster, clip.with_suffix(".json"), "", {}))
    return job.id


def test_a_fresh_page_follows_the_job_in_the_works(studio: Studio, store: JobStore, settings: Settings) -> None:
    assert first_job(studio, "") == ""
    done, cancelled = finish_one(store, settings), store.submit(make_request())
    store.cancel(cancelled)
    assert first_job(studio, "") == first_job(studio, "no such job") == done
    assert first_job(studio, cancelled) == cancelled
    running, waiting = store.submit(make_request()), store.submit(make_request())
    assert store.claim().id == running
    assert first_job(studio, "") == running
    assert first_job(studio, waiting) == waiting


def test_a_clip_that_was_moved_is_nowhere_offered(studio: Studio, store: JobStore, settings: Settings) -> None:
    job_id = finish_one(store, settings)
    shown = _wanted(studio.job(job_id), studio, NAMES)
    assert shown["last_frame"]
    assert "<img" in shown["strip"]
    for file in settings.clips.iterdir():
        file.unlink()
    shown = _wanted(studio.job(job_id), studio, NAMES)
    assert not shown["last_frame"]
    assert shown["download"] == ""
    assert "<img" not in shown["strip"]


def test_the_page_polls_while_any_job_is_active(studio: Studio, store: JobStore) -> None:
    """However many newer jobs there are."""
    active = store.submit(make_request())
    for _ in range(30):
        store.cancel(store.submit(make_request()))
    assert _wanted(None, studio, NAMES)["timer"]
    store.cancel(active)
    assert not _wanted(None, studio, NAMES)["timer"]
