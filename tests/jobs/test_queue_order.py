"""What a person does with the queue: order, retries, edits; and which job a worker takes next."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from tests.support.queues import OpenQueue, kinds, line, make, submit, work_off
from tests.support.requests import make_request
from wan_pipeline.clips.gallery import Gallery, GalleryQuery
from wan_pipeline.errors import UserError
from wan_pipeline.jobs.job import JobState, NewJob
from wan_pipeline.jobs.table.claiming import MAX_OVERTAKEN
from wan_pipeline.storage.database import Database

# Order


def test_a_loaded_model_makes_the_jobs_of_its_own_mode_first(queue: OpenQueue) -> None:
    """Deterministic mode and the plain one each load the model anew."""
    modes = [True, False, True, False]
    jobs = [NewJob(make_request(seed=seed), deterministic=mode) for seed, mode in enumerate(modes)]
    ids = queue.editor.submit_many(jobs)
    model, taken = jobs[0].request.model, []
    mode = False
    while job := queue.worker.claim(model, deterministic=mode):
        taken.append(job.id)
        mode = job.deterministic
        queue.worker.fail(job.id, "")
    assert taken == [ids[1], ids[3], ids[0], ids[2]]


def test_many_jobs_wait_in_their_order_or_none_at_all(queue: OpenQueue) -> None:
    ids = submit(queue, *"ABC")
    assert line(queue) == ids

    def broken() -> object:
        raise KeyError

    bad = make_request()
    object.__setattr__(bad, "to_json", broken)
    with pytest.raises(KeyError):
        queue.editor.submit_many([(make_request(), ""), (bad, "")])
    assert line(queue) == ids


def test_a_job_is_moved_before_another_and_to_the_end(queue: OpenQueue) -> None:
    a, b, c, d = submit(queue, *"AAAA")
    queue.editor.move(d, before=b)
    assert line(queue) == [a, d, b, c]
    queue.editor.move(a, before=None)
    assert line(queue) == [d, b, c, a]
    queue.editor.move(c, before=d)
    assert line(queue) == [c, d, b, a]
    queue.editor.move(c, before=c)
    assert line(queue) == [c, d, b, a]
    assert kinds(queue, c) == ["submitted", "moved", "moved"]
    assert [job.jobs_ahead for job in queue.jobs.active()] == [0, 1, 2, 3]


def test_many_moves_to_one_place_keep_their_order(queue: OpenQueue, database: Path) -> None:
    """Halving the gap again and again would use up the digits of a number after about fifty."""
    last, *others = submit(queue, *"A" * 8)
    for turn in range(140):
        queue.editor.move(others[turn % 7], before=last)
    assert line(queue) == [*others, last]
    with sqlite3.connect(database) as connection:
        assert connection.execute("SELECT count(DISTINCT position) FROM jobs").fetchone() == (8,)


def test_only_what_waits_has_a_place(queue: OpenQueue) -> None:
    a, b = submit(queue, *"AA")
    queue.worker.claim()
    for move in (lambda: queue.editor.move(a, before=None), lambda: queue.editor.move(b, before=a)):
        with pytest.raises(UserError, match=f"Job {a[:8]} is not waiting any more"):
            move()
    assert line(queue) == [a, b]


# Which job is next


def test_jobs_of_the_loaded_model_go_first(queue: OpenQueue, database: Path) -> None:
    a1, b1, a2, b2, a3 = submit(queue, *"ABABA")
    assert work_off(queue, database) == [a1, a2, a3, b1, b2]


def test_without_a_loaded_model_position_decides(queue: OpenQueue, database: Path) -> None:
    ids = submit(queue, *"ABABA")
    assert work_off(queue, database, keep_loaded=False) == ids


def test_a_job_moved_by_hand_is_not_overtaken(queue: OpenQueue, database: Path) -> None:
    a1, b1, a2, b2, a3 = submit(queue, *"ABABA")
    queue.editor.move(b2, before=a2)
    assert work_off(queue, database) == [a1, b1, b2, a2, a3]


def test_no_job_is_overtaken_for_ever(queue: OpenQueue, database: Path) -> None:
    """Somebody keeps adding jobs of the model that is loaded."""
    (waiting,) = submit(queue, "B")
    before = 0
    loaded = "A"
    while True:
        submit(queue, "A")
        job = queue.worker.claim(loaded)
        queue.worker.finish(job.id, make(database, job))
        if job.id == waiting:
            break
        before += 1
    assert before == MAX_OVERTAKEN


def test_an_interrupted_job_comes_before_anything_else(queue: OpenQueue) -> None:
    first, *_ = submit(queue, *"ABA")
    queue.worker.claim()
    queue.worker.recover()
    assert queue.worker.claim("B").id == first


# Again, otherwise, away


@pytest.mark.parametrize("end", ["fail", "cancel", "quarantine"])
def test_retry_starts_afresh_at_the_end(end: str, queue: OpenQueue) -> None:
    first, second = submit(queue, *"AA")
    queue.editor.move(first, before=second)
    queue.worker.claim()
    if end == "fail":
        queue.worker.lower_plan(first, "resident,fp32,tile=256", "memory ran out")
        queue.worker.claim()
        queue.worker.fail(first, "no")
    elif end == "cancel":
        queue.editor.cancel(first)
        queue.worker.mark_cancelled(first)
    else:
        queue.worker.recover()
        queue.worker.claim()
        queue.worker.recover()
    assert not queue.jobs.job(first).is_active
    assert queue.editor.retry(first)
    assert not queue.editor.retry(first)
    assert not queue.editor.retry(second)
    job = queue.jobs.job(first)
    assert (job.state, job.attempts, job.error, job.finished_at) == (JobState.QUEUED, 0, None, None)
    assert (job.plan, job.plan_steps_down, job.cancel_requested) == ("", 0, False)
    assert line(queue) == [second, first]
    assert kinds(queue, first)[-1] == "retried"


def test_retry_failed_takes_all_that_failed_in_their_order(queue: OpenQueue, database: Path) -> None:
    ids = submit(queue, *"AAAAA")
    queue.editor.cancel(ids[4])
    for job_id in ids[:3]:
        queue.worker.claim()
        queue.worker.fail(job_id, "no")
    queue.worker.finish(ids[3], make(database, queue.worker.claim()))
    assert queue.editor.retry_failed() == 3
    assert line(queue) == ids[:3]
    assert queue.editor.retry_failed() == 0


def test_edit_changes_a_waiting_job_and_keeps_its_place(queue: OpenQueue) -> None:
    a, b = submit(queue, *"AA")
    queue.editor.pause(a)
    queue.editor.edit(a, make_request(prompt="a blue fish", model="B"))
    assert (queue.jobs.job(a).request.prompt, queue.jobs.job(a).state) == ("a blue fish", JobState.PAUSED)
    queue.editor.unpause(a)
    assert line(queue) == [a, b]
    assert queue.worker.claim("B").id == a
    with pytest.raises(UserError, match="is running; only a waiting job can be changed: duplicate it instead"):
        queue.editor.edit(a, make_request())
    with pytest.raises(UserError, match="There is no job"):
        queue.editor.edit("nobody", make_request())


def test_cleared_jobs_are_off_the_list_and_their_clips_are_not(queue: OpenQueue, database: Path) -> None:
    ids = submit(queue, *"AAAA")
    queue.worker.finish(ids[0], make(database, queue.worker.claim()))
    queue.worker.claim()
    queue.worker.fail(ids[1], "no")
    queue.editor.cancel(ids[2])
    assert queue.editor.clear_finished() == 3
    assert queue.editor.clear_finished() == 0
    assert [job.id for job in queue.jobs.jobs()] == [job.id for job in queue.jobs.recent(9)] == [ids[3]]
    assert queue.jobs.counts() == dict.fromkeys(JobState, 0) | {JobState.QUEUED: 1}
    assert [job.id for job in queue.jobs.finished("A", 9)] == [ids[0]]
    assert (queue.jobs.job(ids[1]), queue.jobs.events(ids[1])) == (None, [])
    gallery = Gallery(Database(database), database.parent / "clips")
    assert [clip.id for clip in gallery.page(GalleryQuery(), 0, 9).items] == [ids[0]]


def test_the_list_shows_work_first_and_pages(queue: OpenQueue, database: Path) -> None:
    a, b, c, d, e = submit(queue, *"AAAAA")
    queue.worker.finish(a, make(database, queue.worker.claim()))
    queue.worker.claim()
    queue.worker.fail(b, "no")
    queue.worker.claim()
    queue.editor.pause(d)
    assert [job.id for job in queue.jobs.jobs()] == [c, d, e, b, a]
    assert [job.id for job in queue.jobs.jobs(limit=2, offset=2)] == [e, b]
    assert [job.id for job in queue.jobs.jobs((JobState.DONE, JobState.FAILED))] == [b, a]
    assert queue.jobs.counts()[JobState.QUEUED] == 1
    assert sum(queue.jobs.counts().values()) == 5


def test_a_job_is_found_by_the_beginning_of_its_id(queue: OpenQueue) -> None:
    (job_id,) = submit(queue, "A")
    assert queue.jobs.find(job_id[:6]) == queue.jobs.find(job_id) == job_id
    for start in ("", "x", "%", "_" * 4):
        with pytest.raises(UserError, match=r"No job's id begins|More than one"):
            queue.jobs.find(start)
