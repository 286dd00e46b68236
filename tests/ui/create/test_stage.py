"""What the stage follows and shows, on a real studio without a worker."""

from __future__ import annotations

from typing import Any

import gradio as gr
import pytest

from tests.support.pages import NAMES, TEMPLATES, Reader, page_links
from tests.support.queues import OpenQueue
from tests.support.requests import make_request
from wan_pipeline.jobs.job import Finished
from wan_pipeline.models.spec import Mode
from wan_pipeline.settings import Settings
from wan_pipeline.studio import Studio
from wan_pipeline.ui.create.events.stage import StageEvents
from wan_pipeline.ui.create.layout import StageLayout


@pytest.fixture
def queue(settings: Settings) -> OpenQueue:
    return OpenQueue(settings.database)


@pytest.fixture
def stage(studio: Studio) -> StageEvents:
    with gr.Blocks() as page:
        layout, links = StageLayout(TEMPLATES, NAMES), page_links(page, studio)
    return StageEvents(studio, TEMPLATES, NAMES, layout, links)


def first_job(stage: StageEvents, wanted: str) -> str:
    """The job that a fresh page with this address follows."""
    [job_id] = stage.open_page(wanted).values()
    return job_id


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


def test_a_fresh_page_follows_the_running_job(stage: StageEvents, queue: OpenQueue, settings: Settings) -> None:
    assert first_job(stage, "") == ""
    done, cancelled = finish_one(queue, settings), queue.editor.submit(make_request())
    queue.editor.cancel(cancelled)
    assert first_job(stage, "") == first_job(stage, "no such job") == done
    assert first_job(stage, cancelled) == cancelled
    running, waiting = queue.editor.submit(make_request()), queue.editor.submit(make_request())
    assert queue.worker.claim().id == running
    assert first_job(stage, "") == running
    assert first_job(stage, waiting) == waiting


def test_a_clip_that_was_moved_is_nowhere_offered(stage: StageEvents, queue: OpenQueue, settings: Settings) -> None:
    job_id = finish_one(queue, settings)
    shown = stage.shows(job_id)
    assert shown["last_frame"]
    assert "<img" in shown["strip"]
    for file in settings.clips.iterdir():
        file.unlink()
    shown = stage.shows(job_id)
    assert not shown["last_frame"]
    assert shown["download"] == ""
    assert "<img" not in shown["strip"]


def act(stage: StageEvents, job_id: str, name: str, text: str = "") -> dict[Any, Any]:
    """A click on a button of the stage that shows this job."""
    return stage.act(job_id, {}, gr.EventData(None, {"act": name, "clip": job_id, "text": text}))


def test_02_a_binned_clip_can_be_put_back_and_a_lost_one_cannot(
    studio: Studio, stage: StageEvents, queue: OpenQueue, settings: Settings
) -> None:
    job_id = finish_one(queue, settings)
    studio.gallery.bin([job_id])
    assert "unbin" in Reader(stage.shows(job_id)["view"]).acts
    assert "<video" in act(stage, job_id, "unbin")[stage._layout.view]
    studio.gallery.bin([job_id])
    studio.gallery.empty_bin()
    shown = stage.shows(job_id)["view"]
    assert "This clip is gone" in shown and "unbin" not in shown
    assert "no clip" in act(stage, job_id, "unbin")[stage._layout.toast]


def test_02_a_held_clip_is_released_and_a_failed_one_tried_again(stage: StageEvents, queue: OpenQueue) -> None:
    held = queue.editor.submit(make_request())
    queue.editor.pause(held)
    assert "In the queue" in act(stage, held, "release")[stage._layout.view]
    queue.editor.cancel(held)
    assert "In the queue" in act(stage, held, "retry")[stage._layout.view]


def test_09_a_finished_clip_is_starred_binned_and_put_back_on_the_stage(
    studio: Studio, stage: StageEvents, queue: OpenQueue, settings: Settings
) -> None:
    job_id, layout = finish_one(queue, settings), stage._layout
    assert Reader(stage.shows(job_id)["clip_acts"]).acts == {"star", "vary", "share", "verify", "bin"}
    assert 'aria-pressed="true"' in act(stage, job_id, "star")[layout.clip_acts]
    assert studio.gallery.clip(job_id).starred
    binned = act(stage, job_id, "bin")
    assert "undo" in Reader(binned[layout.toast]).acts and binned[layout.clip_acts] == ""
    assert job_id not in stage.shows(job_id)["strip"]
    put_back = stage.act(job_id, {}, gr.EventData(None, {"act": "undo", "clip": "", "text": job_id}))
    assert "<video" in put_back[layout.view]
    assert Reader(stage.shows(queue.editor.submit(make_request()))["clip_acts"]).acts == set()


def test_09_a_clips_settings_go_to_the_form_with_another_seed(
    stage: StageEvents, queue: OpenQueue, settings: Settings
) -> None:
    form = stage._filler.forms[Mode.TEXT_TO_VIDEO].form
    filled = act(stage, finish_one(queue, settings), "vary")
    assert (filled[form["prompt"]], filled[form["seed"]]) == (make_request().prompt, "")


def test_09_waiting_clips_push_none_out_of_recent(stage: StageEvents, queue: OpenQueue, settings: Settings) -> None:
    done = finish_one(queue, settings)
    waiting = [queue.editor.submit(make_request()) for _ in range(30)]
    strip = stage.shows("")["strip"]
    assert done in strip and not any(job_id in strip for job_id in waiting)


def test_only_what_has_changed_is_sent(stage: StageEvents, queue: OpenQueue, settings: Settings) -> None:
    """A clip that is sent again starts again."""
    layout, job_id = stage._layout, finish_one(queue, settings)
    first = stage.refresh(job_id, {})
    assert stage.refresh(job_id, first[layout.shown]) == {stage._links.badge: ""}
    assert first[layout.cancel].visible is False and first[layout.reuse].visible is True


def test_the_mark_beside_queue_is_sent_whoever_has_changed_it(stage: StageEvents, queue: OpenQueue) -> None:
    """The page looks while it counts something; the Queue room sets it too, of which the stage knows nothing."""
    shown = stage.refresh("", {})[stage._layout.shown]
    waiting = queue.editor.submit(make_request())
    assert stage.refresh("", shown) == {stage._links.badge: "1"}
    queue.editor.cancel(waiting)
    assert stage.refresh("", shown) == {stage._links.badge: ""}
