"""Jobs that a person holds, and a held queue."""

from __future__ import annotations

from pathlib import Path

from tests.support.queues import OpenQueue, kinds, line, make, submit
from tests.support.requests import make_request
from wan_pipeline.jobs.job import JobState


def test_a_held_job_keeps_its_place_and_is_passed(queue: OpenQueue) -> None:
    a, b, c = submit(queue, *"AAA")
    assert queue.editor.pause(a)
    assert not queue.editor.pause(a)
    assert line(queue) == [b, c]
    assert [job.id for job in queue.jobs.jobs()] == [a, b, c]
    assert queue.worker.claim().id == b
    assert queue.editor.unpause(a)
    assert not queue.editor.unpause(a)
    assert line(queue) == [b, a, c]
    assert kinds(queue, a) == ["submitted", "paused", "unpaused"]


def test_a_held_job_is_not_claimed_and_may_be_cancelled(queue: OpenQueue) -> None:
    job_id = queue.editor.submit(make_request(), "night")
    assert queue.editor.pause(job_id)
    assert (queue.jobs.job(job_id).state, queue.jobs.job(job_id).project) == (JobState.PAUSED, "night")
    assert queue.worker.claim() is None
    queue.editor.cancel(job_id)
    assert queue.jobs.job(job_id).state is JobState.CANCELLED


def test_a_paused_queue_gives_no_job(queue: OpenQueue) -> None:
    (job_id,) = submit(queue, "A")
    queue.editor.pause_queue()
    assert queue.jobs.queue_state().paused
    assert queue.worker.claim() is None
    queue.editor.resume_queue()
    assert not queue.jobs.queue_state().paused
    assert queue.worker.claim().id == job_id


def test_stop_after_current_stops_when_it_is_done(queue: OpenQueue, database: Path) -> None:
    first, second = submit(queue, *"AA")
    job = queue.worker.claim()
    queue.editor.stop_after_current()
    assert (queue.jobs.queue_state().stops_after_current, queue.jobs.queue_state().paused) == (True, False)
    queue.worker.finish(first, make(database, job))
    assert queue.worker.claim() is None
    assert (queue.jobs.queue_state().stops_after_current, queue.jobs.queue_state().paused) == (False, True)
    queue.editor.resume_queue()
    assert queue.worker.claim().id == second


def test_stop_after_current_outlives_the_death_of_the_worker(queue: OpenQueue) -> None:
    first, _ = submit(queue, *"AA")
    queue.worker.claim()
    queue.editor.stop_after_current()
    queue.worker.recover()
    assert queue.worker.claim().id == first
    assert queue.worker.claim() is None


def test_stop_after_current_without_a_current_one_pauses(queue: OpenQueue) -> None:
    submit(queue, "A")
    queue.editor.stop_after_current()
    assert queue.jobs.queue_state().paused
