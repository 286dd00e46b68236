"""What a person does with the queue: order, holds, retries, edits; and which job a worker takes next."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.queues import OpenQueue
from tests.support.requests import make_request
from wan_pipeline.clips.gallery import Gallery, GalleryQuery
from wan_pipeline.errors import UserError
from wan_pipeline.jobs.claiming import MAX_OVERTAKEN
from wan_pipeline.jobs.job import UNFINISHED, EventKind, Finished, Job, JobState, NewJob
from wan_pipeline.progress import Progress, Stage
from wan_pipeline.storage.database import Database


def submit(queue: OpenQueue, *models: str) -> list[str]:
    """One job for each model, told apart by their seeds."""
    return queue.editor.submit_many([(make_request(model=model, seed=seed), "") for seed, model in enumerate(models)])


def make(database: Path, job: Job) -> Finished:
    clip = database.parent / "clips" / f"{job.id}.mp4"
    return Finished(job.request, clip, clip.with_suffix(".webp"), clip.with_suffix(".json"), "ab" * 32, {"saving": 1.5})


def run_all(queue: OpenQueue, database: Path, keep_loaded: bool = True) -> list[str]:
    """The ids in the order in which a worker takes them that keeps a model loaded until it needs another."""
    taken, loaded = [], None
    while job := queue.worker.claim(loaded):
        taken.append(job.id)
        loaded = job.request.model if keep_loaded else None
        queue.worker.finish(job.id, make(database, job))
    return taken


def line(queue: OpenQueue) -> list[str]:
    return [job.id for job in queue.jobs.active()]


def kinds(queue: OpenQueue, job_id: str) -> list[str]:
    return [event.kind.value for event in queue.jobs.events(job_id)]


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
    assert run_all(queue, database) == [a1, a2, a3, b1, b2]


def test_without_a_loaded_model_position_decides(queue: OpenQueue, database: Path) -> None:
    ids = submit(queue, *"ABABA")
    assert run_all(queue, database, keep_loaded=False) == ids


def test_a_job_moved_by_hand_is_not_overtaken(queue: OpenQueue, database: Path) -> None:
    a1, b1, a2, b2, a3 = submit(queue, *"ABABA")
    queue.editor.move(b2, before=a2)
    assert run_all(queue, database) == [a1, b1, b2, a2, a3]


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


# Held jobs, and a held queue


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
    assert run_all(queue, database) == first + later
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
