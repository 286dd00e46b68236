"""What the stage follows and shows, on a real studio without a worker."""

from __future__ import annotations

import pytest

from tests.support.queues import OpenQueue
from tests.support.requests import make_request
from wan_pipeline.jobs.job import Finished
from wan_pipeline.settings import Settings
from wan_pipeline.studio import Studio
from wan_pipeline.ui import cards
from wan_pipeline.ui.stage import _wanted, first_job

NAMES = cards.Names(models={}, presets={})


@pytest.fixture
def queue(settings: Settings) -> OpenQueue:
    return OpenQueue(settings.database)


def finish_one(queue: OpenQueue, settings: Settings) -> str:
    """A finished job whose files are there, though they hold nothing."""
    request = make_request()
    queue.editor.submit(request)
    job = queue.worker.claim()
    assert job is not None
    clip, poster = (settings.clips / f"{job.id}{suffix}" for suffix in (".mp4", ".webp"))
    clip.touch()
    poster.touch()
    queue.worker.finish(job.id, Finished(request, clip, poster, clip.with_suffix(".json"), "", {}))
    return job.id


def test_a_fresh_page_follows_the_job_in_the_works(studio: Studio, queue: OpenQueue, settings: Settings) -> None:
    assert first_job(studio, "") == ""
    done, cancelled = finish_one(queue, settings), queue.editor.submit(make_request())
    queue.editor.cancel(cancelled)
    assert first_job(studio, "") == first_job(studio, "no such job") == done
    assert first_job(studio, cancelled) == cancelled
    running, waiting = queue.editor.submit(make_request()), queue.editor.submit(make_request())
    assert queue.worker.claim().id == running
    assert first_job(studio, "") == running
    assert first_job(studio, waiting) == waiting


def test_a_clip_that_was_moved_is_nowhere_offered(studio: Studio, queue: OpenQueue, settings: Settings) -> None:
    job_id = finish_one(queue, settings)
    shown = _wanted(studio.jobs.job(job_id), studio, NAMES)
    assert shown["last_frame"]
    assert "<img" in shown["strip"]
    for file in settings.clips.iterdir():
        file.unlink()
    shown = _wanted(studio.jobs.job(job_id), studio, NAMES)
    assert not shown["last_frame"]
    assert shown["download"] == ""
    assert "<img" not in shown["strip"]


def test_the_page_polls_while_any_job_is_active(studio: Studio, queue: OpenQueue) -> None:
    """However many newer jobs there are."""
    active = queue.editor.submit(make_request())
    for _ in range(30):
        queue.editor.cancel(queue.editor.submit(make_request()))
    assert _wanted(None, studio, NAMES)["timer"]
    queue.editor.cancel(active)
    assert not _wanted(None, studio, NAMES)["timer"]
