"""A cancel ends a job in every stage, and is never lost: neither while a job goes back into the queue, nor while
the worker has other troubles.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.support.faults.disks import small_disk
from tests.support.queues import OpenQueue
from tests.support.requests import make_request
from tests.support.studios import PATIENCE, QUICK, leftovers, wait_for, working
from wan_pipeline.errors import Cancelled
from wan_pipeline.jobs.disk_space import NoRoom
from wan_pipeline.jobs.job import EventKind, JobState
from wan_pipeline.jobs.table.worker_queue import WorkerQueue
from wan_pipeline.jobs.worker import observer as observer_module
from wan_pipeline.jobs.worker import render as render_module
from wan_pipeline.jobs.worker.observer import JobObserver
from wan_pipeline.jobs.worker.run import JobRun
from wan_pipeline.jobs.worker.worker import Worker
from wan_pipeline.progress import Observer, Progress, Stage
from wan_pipeline.requests.request import GenerationRequest
from wan_pipeline.settings import Settings
from wan_pipeline.studio import Studio

NO_ROOM = NoRoom("The disk is full.", ("/clips",), 1)


@pytest.fixture
def queue(tmp_path: Path) -> OpenQueue:
    return OpenQueue(tmp_path / "studio.sqlite3")


@pytest.mark.parametrize(
    "put_back",
    [
        lambda worker, job_id: worker.release(job_id),
        lambda worker, job_id: worker.lower_plan(job_id, "smaller", "out of memory"),
        lambda worker, job_id: worker.wait_for_room(job_id, NO_ROOM),
    ],
    ids=["release", "lower_plan", "wait_for_room"],
)
def test_a_job_to_be_cancelled_does_not_go_back_into_the_queue(
    queue: OpenQueue, put_back: Callable[[WorkerQueue, str], object]
) -> None:
    job_id = queue.editor.submit(make_request())
    queue.worker.claim()
    queue.editor.cancel(job_id)
    assert not put_back(queue.worker, job_id)
    job, state = queue.jobs.existing(job_id), queue.jobs.queue_state()
    assert (job.state, job.attempts, job.plan) == (JobState.CANCELLED, 1, "")
    assert queue.jobs.events(job_id)[-1].kind is EventKind.CANCELLED
    assert (state.paused, state.no_room) == (False, None)


def test_a_verification_need_not_wait_while_the_queue_waits_for_room(queue: OpenQueue) -> None:
    job_id = queue.editor.submit(make_request())
    assert queue.jobs.will_render()
    queue.worker.claim()
    queue.worker.wait_for_room(job_id, NO_ROOM)
    assert queue.jobs.has_work()
    assert not queue.jobs.will_render()


def test_a_worker_ends_when_the_last_job_that_waited_for_room_is_cancelled(studio: Studio, settings: Settings) -> None:
    """Without an app it stayed for ever, with its model in memory."""
    job_id = studio.submit(QUICK)
    with small_disk(settings.clips, "1m"), working(settings):
        wait_for(lambda: studio.jobs.queue_state().no_room, "the wait for room")
        studio.queue.cancel(job_id)
    assert not studio.jobs.queue_state().paused


def test_a_clip_cancelled_while_its_disk_is_found_full_is_cancelled_and_the_queue_goes_on(
    studio: Studio, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cancel comes between the check of the disk and the way back into the queue."""
    job_id = studio.submit(QUICK)
    made = NoRoom.of

    def cancel_then_make(*arguments: object) -> NoRoom:
        studio.queue.cancel(job_id)
        return made(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(NoRoom, "of", cancel_then_make)
    with small_disk(settings.clips, "1m"):
        Worker(settings).run()
        assert studio.jobs.existing(job_id).state is JobState.CANCELLED
        assert not studio.jobs.queue_state().paused
    next_one = studio.submit(replace(QUICK, seed=2))
    Worker(settings).run()
    assert studio.jobs.existing(next_one).state is JobState.DONE


def test_the_end_of_a_cancelled_job_does_not_wait_for_its_last_progress(
    queue: OpenQueue, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread that writes progress hangs on a slow disk: the row says "cancelled" all the same."""
    writes, may_end = Event(), Event()

    def hang(*picture: object) -> None:
        writes.set()
        may_end.wait(PATIENCE)

    def render(request: GenerationRequest, observer: Observer, *rest: Any) -> None:
        observer.progress(Progress(Stage.DENOISING, 1, 9, preview=np.zeros((1, 8, 8, 3), np.uint8)))
        writes.wait(PATIENCE)
        raise Cancelled

    monkeypatch.setattr(observer_module, "write_preview", hang)
    settings.make_folders()
    job_id = queue.editor.submit(make_request())
    job = queue.worker.claim()
    assert job is not None
    queue.editor.cancel(job_id)
    run = JobRun(job, settings, queue.worker, lambda: None, Event())
    engine: Any = SimpleNamespace(render=render)
    thread = Thread(target=run.make, args=(lambda run: engine,))
    thread.start()
    try:
        wait_for(lambda: queue.jobs.existing(job_id).state is JobState.CANCELLED, "the end of the job")
        assert thread.is_alive()
    finally:
        may_end.set()
        thread.join()


def test_a_preview_that_a_dead_worker_left_of_an_ended_job_is_removed(studio: Studio, settings: Settings) -> None:
    job_id = studio.submit(QUICK)
    studio.queue.cancel(job_id)
    preview = settings.previews / f"{job_id}.webp"
    preview.write_bytes(b"RIFF")
    Worker(settings).run()
    assert not preview.exists()


@pytest.mark.parametrize("stage", [stage for stage in Stage if stage is not Stage.QUEUED])
def test_a_job_can_be_cancelled_in_every_stage(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, stage: Stage
) -> None:
    settings = replace(settings, checkpoint_seconds=0.0)
    with Studio(settings) as studio:
        job_id, next_one = studio.submit(QUICK), studio.submit(replace(QUICK, seed=2))
        report = JobObserver.progress

        def cancel(observer: JobObserver, progress: Progress) -> None:
            report(observer, progress)
            if progress.stage is stage and observer._job_id == job_id:
                studio.queue.cancel(job_id)
                observer._check_cancel_request()

        monkeypatch.setattr(JobObserver, "progress", cancel)
        Worker(settings).run()
        assert studio.jobs.job(job_id).state is JobState.CANCELLED
        assert studio.jobs.job(next_one).state is JobState.DONE
        assert leftovers(settings) == [".json", ".latents", ".mp4", ".webp"]
        assert [*settings.previews.iterdir(), *settings.checkpoints.iterdir()] == []


def test_a_cancel_after_the_receipt_comes_too_late(
    studio: Studio, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is finished is not thrown away."""
    job_id = studio.submit(QUICK)
    monkeypatch.setattr(
        render_module, "crash_point", lambda point: point == "receipt-saved" and studio.queue.cancel(job_id)
    )
    Worker(settings).run()
    assert studio.jobs.job(job_id).state is JobState.DONE
    assert leftovers(settings) == [".json", ".latents", ".mp4", ".webp"]
