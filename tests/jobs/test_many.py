"""What a person does to several jobs at once, and that it can be undone."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.queues import OpenQueue
from tests.support.requests import make_request
from tests.support.studios import ENDLESS, QUICK, is_denoising, wait_for, working
from wan_pipeline.jobs.job import EventKind, JobState
from wan_pipeline.jobs.many import CancelledJobs
from wan_pipeline.settings import Settings
from wan_pipeline.studio import Studio


@pytest.fixture
def queue(tmp_path: Path) -> OpenQueue:
    return OpenQueue(tmp_path / "studio.sqlite3")


def submit(queue: OpenQueue, count: int) -> list[str]:
    return [queue.editor.submit(make_request(seed=seed)) for seed in range(count)]


def states(queue: OpenQueue, ids: list[str]) -> list[JobState]:
    return [queue.jobs.existing(job_id).state for job_id in ids]


def test_05_cancelled_jobs_come_back_to_their_places_as_they_were(queue: OpenQueue) -> None:
    ids = submit(queue, 4)
    queue.editor.pause(ids[1])
    cancelled = queue.editor.many.cancel(ids[:3]).states
    assert cancelled == {ids[0]: JobState.QUEUED, ids[1]: JobState.PAUSED, ids[2]: JobState.QUEUED}
    queue.editor.retry(ids[2])  # it waits at the end, and stays there
    assert queue.editor.many.restore_cancelled(cancelled) == 2
    assert [job.id for job in queue.jobs.jobs()] == [ids[0], ids[1], ids[3], ids[2]]
    assert states(queue, ids) == [JobState.QUEUED, JobState.PAUSED, JobState.QUEUED, JobState.QUEUED]
    assert queue.jobs.existing(ids[0]).finished_at is None
    assert queue.jobs.events(ids[0])[-1].kind is EventKind.RESTORED


def test_05_a_running_job_is_asked_to_stop_and_not_restored(queue: OpenQueue) -> None:
    (job_id,) = submit(queue, 1)
    queue.worker.claim()
    assert queue.editor.many.cancel([job_id, "nobody"]) == CancelledJobs({}, asked=1)
    assert queue.worker.stop_requests(job_id).cancel
    queue.worker.mark_cancelled(job_id)
    assert queue.editor.many.restore_cancelled({job_id: JobState.RUNNING}) == 0


def test_05_what_one_clear_took_off_the_list_comes_back_whole(queue: OpenQueue) -> None:
    ids = submit(queue, 4)
    queue.editor.many.cancel(ids[:3])
    first, second = queue.editor.many.clear(ids[:1]), queue.editor.many.clear()
    assert (first.count, second.count) == (1, 2)
    assert queue.jobs.job(ids[0]) is None, "the clear after it deletes what has no clip"
    assert queue.jobs.counts()[JobState.CANCELLED] == 0
    assert queue.editor.many.restore_cleared(second.batch) == 2
    assert queue.jobs.counts()[JobState.CANCELLED] == 2
    assert [event.kind for event in queue.jobs.events(ids[1])] == [EventKind.SUBMITTED, EventKind.CANCELLED]
    assert queue.editor.many.restore_cleared(0) == 0


def test_09_many_are_held_released_and_retried_in_their_order(queue: OpenQueue) -> None:
    ids = submit(queue, 3)
    many = queue.editor.many
    assert (many.hold(ids[:2]), many.hold(ids[:2])) == (2, 0)
    assert many.release(ids) == 2
    many.cancel(ids)
    assert many.retry([*ids[::-1], "nobody"]) == 3
    assert [job.id for job in queue.jobs.jobs()] == ids[::-1]


def test_05_a_pause_at_once_gives_the_clip_back_with_its_checkpoint(studio: Studio, settings: Settings) -> None:
    long, other = studio.submit(ENDLESS), studio.submit(QUICK)
    with working(settings):
        wait_for(lambda: is_denoising(studio, long), "a step")
        studio.queue.pause_now()
        wait_for(lambda: studio.jobs.existing(long).state is JobState.QUEUED, "the clip waits again")
    job = studio.jobs.existing(long)
    assert (job.attempts, job.cancel_requested) == (0, False)
    assert (settings.checkpoints / f"{long}.safetensors").is_file()
    assert studio.jobs.queue_state().paused
    assert [each.id for each in studio.jobs.active()] == [long, other]
    studio.queue.resume_queue()
    with working(settings):
        wait_for(lambda: studio.jobs.existing(long).resumed_from > 0, "it goes on from its checkpoint")
        studio.queue.cancel_all()
    assert not list(settings.checkpoints.iterdir())


def test_05_what_was_cleared_meanwhile_comes_back_on_the_list(queue: OpenQueue) -> None:
    """An older toast's Undo: a job that waits and is not listed would be counted nowhere."""
    ids = submit(queue, 2)
    states = queue.editor.many.cancel(ids).states
    queue.editor.many.clear()
    assert queue.editor.many.restore_cancelled(states) == 2
    assert queue.jobs.unfinished() == 2
    assert [job.id for job in queue.jobs.jobs()] == ids


def test_05_an_undo_gives_back_its_own_clear_alone(queue: OpenQueue) -> None:
    first, second = submit(queue, 2)
    queue.editor.many.cancel([first])
    older = queue.editor.many.clear()
    queue.editor.many.cancel([second])
    newer = queue.editor.many.clear()
    assert (older.count, newer.count) == (1, 1)
    assert queue.editor.many.restore_cleared(older.batch) == 0, "it was deleted by the clear after it"
    assert queue.editor.many.restore_cleared(newer.batch) == 1
