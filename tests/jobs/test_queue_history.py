"""What a worker leaves behind in the queue, and rows of another version."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.queues import OpenQueue, kinds, line, make, submit, work_off
from tests.support.requests import make_request
from wan_pipeline.jobs.job import UNFINISHED, EventKind, JobState
from wan_pipeline.progress import Progress, Stage

# What a worker leaves behind


def test_every_start_is_an_event(queue: OpenQueue, database: Path) -> None:
    job_id = queue.editor.submit(make_request())
    queue.worker.claim()
    queue.worker.release(job_id)
    queue.worker.claim()
    queue.worker.recover()
    job = queue.worker.claim()
    queue.worker.record_resumed(job_id, 6)
    assert queue.jobs.job(job_id).resumed_from == 6
    queue.worker.lower_plan(job_id, "resident,fp32,tile=256", "memory ran out")
    job = queue.jobs.job(job_id)
    assert (job.state, job.plan, job.plan_steps_down, job.attempts) == (
        JobState.INTERRUPTED,
        "resident,fp32,tile=256",
        1,
        1,
    )
    job = queue.worker.claim()
    assert job.resumed_from == 0
    queue.worker.finish(job_id, make(database, job))
    assert kinds(queue, job_id) == [
        "submitted",
        "started",
        "released",
        "started",
        "interrupted",
        "started",
        "resumed",
        "plan_lowered",
        "started",
        "done",
    ]
    assert queue.jobs.starts() == 4
    assert [event.detail for event in queue.jobs.events(job_id) if event.kind is EventKind.PLAN_LOWERED] == [
        "resident,fp32,tile=256: memory ran out"
    ]


def test_starts_are_counted_though_their_jobs_are_gone(queue: OpenQueue) -> None:
    (job_id,) = submit(queue, "A")
    queue.worker.claim()
    queue.worker.fail(job_id, "no")
    queue.editor.clear_finished()
    assert queue.jobs.starts() == 1


def test_a_job_that_waits_again_may_be_adopted(queue: OpenQueue, database: Path) -> None:
    """A database restored from a backup does not know of the clips made since."""
    (job_id,) = submit(queue, "A")
    queue.worker.adopt(job_id, make(database, queue.jobs.job(job_id)))
    assert (queue.jobs.job(job_id).state, kinds(queue, job_id)[-1]) == (JobState.DONE, "adopted")
    queue.worker.adopt(job_id, make(database, queue.jobs.job(job_id)))
    assert kinds(queue, job_id).count("adopted") == 1


def test_the_heartbeat_counts_and_outlives_a_clock_set_back(queue: OpenQueue) -> None:
    assert (queue.jobs.queue_state().beats, queue.jobs.queue_state().worker_pid) == (0, None)
    queue.worker.heartbeat(41)
    queue.worker.heartbeat(42)
    assert (queue.jobs.queue_state().beats, queue.jobs.queue_state().worker_pid) == (2, 42)


def test_a_clock_set_back_changes_no_order(queue: OpenQueue, database: Path) -> None:
    first = submit(queue, *"AA")
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE jobs SET created_at = '2099-01-01T00:00:00+00:00'")
        connection.execute("UPDATE events SET at = '2099-01-01T00:00:00+00:00'")
    later = submit(queue, "A")
    assert line(queue) == first + later
    assert [job.id for job in queue.jobs.recent(9)] == (first + later)[::-1]
    assert work_off(queue, database) == first + later
    assert kinds(queue, first[0]) == ["submitted", "started", "done"]


# Requests of another version


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda stored: stored | {"upscale": 2}, "'upscale' is not a known key"),
        (lambda stored: {key: value for key, value in stored.items() if key != "seed"}, "cannot be read"),
        (lambda stored: stored | {"scheduler": "magic"}, "cannot be read"),
        (lambda stored: [], ""),
    ],
)
def test_a_request_of_another_version_is_listed_and_not_run(
    spoil: Callable[[dict], object], says: str, queue: OpenQueue, database: Path
) -> None:
    strange, good = submit(queue, *"AA")
    with sqlite3.connect(database) as connection:
        stored = json.loads(connection.execute("SELECT request FROM jobs WHERE id = ?", (strange,)).fetchone()[0])
        connection.execute("UPDATE jobs SET request = ? WHERE id = ?", (json.dumps(spoil(stored)), strange))
    job = queue.jobs.recent(9)[1]
    assert job.id == strange
    assert says in job.request_error
    assert "Open it with the version that stored it" in job.request_error
    assert queue.worker.claim().id == good
    assert (queue.jobs.job(strange).state, queue.jobs.job(strange).error) == (JobState.FAILED, job.request_error)


def test_what_ends_is_not_unfinished(queue: OpenQueue) -> None:
    """Progress and late words of a worker do not bring a job back."""
    (job_id,) = submit(queue, "A")
    queue.worker.claim()
    queue.worker.fail(job_id, "no")
    queue.worker.lower_plan(job_id, "resident,fp32,tile=256", "late")
    queue.worker.record_resumed(job_id, 3)
    queue.worker.progress(job_id, Progress(Stage.DENOISING, 1, 2))
    job = queue.jobs.job(job_id)
    assert (job.state, job.plan, job.resumed_from, job.step) == (JobState.FAILED, "", 0, 0)
    assert job.state not in UNFINISHED
