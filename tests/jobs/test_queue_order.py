"""What a person does with the queue: order, holds, retries, edits; and which job a worker takes next."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.requests import make_request
from wan_pipeline.clips.gallery import Gallery, GalleryQuery
from wan_pipeline.errors import UserError
from wan_pipeline.jobs.editor import JobStore
from wan_pipeline.jobs.job import UNFINISHED, EventKind, Finished, Job, JobState
from wan_pipeline.jobs.worker_queue import MAX_OVERTAKEN
from wan_pipeline.progress import Progress, Stage
from wan_pipeline.storage.database import Database


def submit(store: JobStore, *models: str) -> list[str]:
    """One job for each model, told apart by their seeds."""
    return store.submit_many([(make_request(model=model, seed=seed), "") for seed, model in enumerate(models)])


def make(database: Path, job: Job) -> Finished:
    clip = database.parent / "clips" / f"{job.id}.mp4"
    return Finished(job.request, clip, clip.with_suffix(".webp"), clip.with_suffix(".json"), "ab" * 32, {"saving": 1.5})


def work_off(store: JobStore, database: Path, keep_loaded: bool = True) -> list[str]:
    """The ids in the order in which a worker takes them that keeps a model loaded until it needs another."""
    taken, loaded = [], None
    while job := store.claim(loaded):
        taken.append(job.id)
        loaded = job.request.model if keep_loaded else None
        store.finish(job.id, make(database, job))
    return taken


def line(store: JobStore) -> list[str]:
    return [job.id for job in store.active()]


def kinds(store: JobStore, job_id: str) -> list[str]:
    return [event.kind.value for event in store.events(job_id)]


# Order


def test_many_jobs_wait_in_their_order_or_none_at_all(store: JobStore) -> None:
    ids = submit(store, *"ABC")
    assert line(store) == ids

    def broken() -> object:
        raise KeyError

    bad = make_request()
    object.__setattr__(bad, "to_json", broken)
    with pytest.raises(KeyError):
        store.submit_many([(make_request(), ""), (bad, "")])
    assert line(store) == ids


def test_a_job_is_moved_before_another_and_to_the_end(store: JobStore) -> None:
    a, b, c, d = submit(store, *"AAAA")
    store.move(d, before=b)
    assert line(store) == [a, d, b, c]
    store.move(a, before=None)
    assert line(store) == [d, b, c, a]
    store.move(c, before=d)
    assert line(store) == [c, d, b, a]
    store.move(c, before=c)
    assert line(store) == [c, d, b, a]
    assert kinds(store, c) == ["submitted", "moved", "moved"]
    assert [job.jobs_ahead for job in store.active()] == [0, 1, 2, 3]


def test_many_moves_to_one_place_keep_their_order(store: JobStore, database: Path) -> None:
    """Halving the gap again and again would use up the digits of a number after about fifty."""
    last, *others = submit(store, *"A" * 8)
    for turn in range(140):
        store.move(others[turn % 7], before=last)
    assert line(store) == [*others, last]
    with sqlite3.connect(database) as connection:
        assert connection.execute("SELECT count(DISTINCT position) FROM jobs").fetchone() == (8,)


def test_only_what_waits_has_a_place(store: JobStore) -> None:
    a, b = submit(store, *"AA")
    store.claim()
    for move in (lambda: store.move(a, before=None), lambda: store.move(b, before=a)):
        with pytest.raises(UserError, match=f"Job {a[:8]} is not waiting any more"):
            move()
    assert line(store) == [a, b]


# Which job is next


def test_jobs_of_the_loaded_model_go_first(store: JobStore, database: Path) -> None:
    a1, b1, a2, b2, a3 = submit(store, *"ABABA")
    assert work_off(store, database) == [a1, a2, a3, b1, b2]


def test_without_a_loaded_model_position_decides(store: JobStore, database: Path) -> None:
    ids = submit(store, *"ABABA")
    assert work_off(store, database, keep_loaded=False) == ids


def test_a_job_moved_by_hand_is_not_overtaken(store: JobStore, database: Path) -> None:
    a1, b1, a2, b2, a3 = submit(store, *"ABABA")
    store.move(b2, before=a2)
    assert work_off(store, database) == [a1, b1, b2, a2, a3]


def test_no_job_is_overtaken_for_ever(store: JobStore, database: Path) -> None:
    """Somebody keeps adding jobs of the model that is loaded."""
    (waiting,) = submit(store, "B")
    before = 0
    loaded = "A"
    while True:
        submit(store, "A")
        job = store.claim(loaded)
        store.finish(job.id, make(database, job))
        if job.id == waiting:
            break
        before += 1
    assert before == MAX_OVERTAKEN


def test_an_interrupted_job_comes_before_anything_else(store: JobStore) -> None:
    first, *_ = submit(store, *"ABA")
    store.claim()
    store.recover()
    assert store.claim("B").id == first


# Held jobs, and a held queue


def test_a_held_job_keeps_its_place_and_is_passed(store: JobStore) -> None:
    a, b, c = submit(store, *"AAA")
    assert store.pause(a)
    assert not store.pause(a)
    assert line(store) == [b, c]
    assert [job.id for job in store.jobs()] == [a, b, c]
    assert store.claim().id == b
    assert store.unpause(a)
    assert not store.unpause(a)
    assert line(store) == [b, a, c]
    assert kinds(store, a) == ["submitted", "paused", "unpaused"]


def test_a_job_may_be_submitted_held(store: JobStore) -> None:
    job_id = store.submit(make_request(), "night", paused=True)
    assert (store.job(job_id).state, store.job(job_id).project) == (JobState.PAUSED, "night")
    assert store.claim() is None
    store.cancel(job_id)
    assert store.job(job_id).state is JobState.CANCELLED


def test_a_paused_queue_gives_no_job(store: JobStore) -> None:
    (job_id,) = submit(store, "A")
    store.pause_queue()
    assert store.queue_state().paused
    assert store.claim() is None
    store.resume_queue()
    assert not store.queue_state().paused
    assert store.claim().id == job_id


def test_stop_after_current_stops_when_it_is_done(store: JobStore, database: Path) -> None:
    first, second = submit(store, *"AA")
    job = store.claim()
    store.stop_after_current()
    assert (store.queue_state().stops_after_current, store.queue_state().paused) == (True, False)
    store.finish(first, make(database, job))
    assert store.claim() is None
    assert (store.queue_state().stops_after_current, store.queue_state().paused) == (False, True)
    store.resume_queue()
    assert store.claim().id == second


def test_stop_after_current_outlives_the_death_of_the_worker(store: JobStore) -> None:
    first, _ = submit(store, *"AA")
    store.claim()
    store.stop_after_current()
    store.recover()
    assert store.claim().id == first
    assert store.claim() is None


def test_stop_after_current_without_a_current_one_pauses(store: JobStore) -> None:
    submit(store, "A")
    store.stop_after_current()
    assert store.queue_state().paused


# Again, otherwise, away


@pytest.mark.parametrize("end", ["fail", "cancel", "quarantine"])
def test_retry_starts_afresh_at_the_end(end: str, store: JobStore) -> None:
    first, second = submit(store, *"AA")
    store.move(first, before=second)
    store.claim()
    if end == "fail":
        store.lower_plan(first, "resident,fp32,tile=256", "memory ran out")
        store.claim()
        store.fail(first, "no")
    elif end == "cancel":
        store.cancel(first)
        store.mark_cancelled(first)
    else:
        store.recover()
        store.claim()
        store.recover()
    assert not store.job(first).is_active
    assert store.retry(first)
    assert not store.retry(first)
    assert not store.retry(second)
    job = store.job(first)
    assert (job.state, job.attempts, job.error, job.finished_at) == (JobState.QUEUED, 0, None, None)
    assert (job.plan, job.plan_steps_down, job.cancel_requested) == ("", 0, False)
    assert line(store) == [second, first]
    assert kinds(store, first)[-1] == "retried"


def test_retry_failed_takes_all_that_failed_in_their_order(store: JobStore, database: Path) -> None:
    ids = submit(store, *"AAAAA")
    store.cancel(ids[4])
    for job_id in ids[:3]:
        store.claim()
        store.fail(job_id, "no")
    store.finish(ids[3], make(database, store.claim()))
    assert store.retry_failed() == 3
    assert line(store) == ids[:3]
    assert store.retry_failed() == 0


def test_edit_changes_a_waiting_job_and_keeps_its_place(store: JobStore) -> None:
    a, b = submit(store, *"AA")
    store.pause(a)
    store.edit(a, make_request(prompt="a blue fish", model="B"))
    assert (store.job(a).request.prompt, store.job(a).state) == ("a blue fish", JobState.PAUSED)
    store.unpause(a)
    assert line(store) == [a, b]
    assert store.claim("B").id == a
    with pytest.raises(UserError, match="is running; only a waiting job can be changed: duplicate it instead"):
        store.edit(a, make_request())
    with pytest.raises(UserError, match="There is no job"):
        store.edit("nobody", make_request())


def test_duplicate_is_a_job_of_its_own(store: JobStore) -> None:
    first = store.submit(make_request(seed=7), "night")
    store.submit(make_request())
    copy = store.job(store.duplicate(first))
    assert (copy.request, copy.project, copy.jobs_ahead) == (make_request(seed=7), "night", 2)
    assert copy.id != first


def test_cleared_jobs_are_off_the_list_and_their_clips_are_not(store: JobStore, database: Path) -> None:
    ids = submit(store, *"AAAA")
    store.finish(ids[0], make(database, store.claim()))
    store.claim()
    store.fail(ids[1], "no")
    store.cancel(ids[2])
    assert store.clear_finished() == 3
    assert store.clear_finished() == 0
    assert [job.id for job in store.jobs()] == [job.id for job in store.recent(9)] == [ids[3]]
    assert store.counts() == dict.fromkeys(JobState, 0) | {JobState.QUEUED: 1}
    assert [job.id for job in store.finished("A", 9)] == [ids[0]]
    assert (store.job(ids[1]), store.events(ids[1])) == (None, [])
    gallery = Gallery(Database(database), database.parent / "clips")
    assert [clip.id for clip in gallery.page(GalleryQuery(), 0, 9).items] == [ids[0]]


def test_the_list_shows_work_first_and_pages(store: JobStore, database: Path) -> None:
    a, b, c, d, e = submit(store, *"AAAAA")
    store.finish(a, make(database, store.claim()))
    store.claim()
    store.fail(b, "no")
    store.claim()
    store.pause(d)
    assert [job.id for job in store.jobs()] == [c, d, e, b, a]
    assert [job.id for job in store.jobs(limit=2, offset=2)] == [e, b]
    assert [job.id for job in store.jobs((JobState.DONE, JobState.FAILED))] == [b, a]
    assert store.counts()[JobState.QUEUED] == 1
    assert sum(store.counts().values()) == 5


def test_a_job_is_found_by_the_beginning_of_its_id(store: JobStore) -> None:
    (job_id,) = submit(store, "A")
    assert store.find(job_id[:6]) == store.find(job_id) == job_id
    for start in ("", "x", "%", "_" * 4):
        with pytest.raises(UserError, match=r"No job's id begins|More than one"):
            store.find(start)


# What a worker leaves behind


def test_every_start_is_an_event(store: JobStore, database: Path) -> None:
    job_id = store.submit(make_request())
    store.claim()
    store.release(job_id)
    store.claim()
    store.recover()
    job = store.claim()
    store.note_resumed(job_id, 6)
    assert store.job(job_id).resumed_from == 6
    store.lower_plan(job_id, "resident,fp32,tile=256", "memory ran out")
    job = store.job(job_id)
    assert (job.state, job.plan, job.plan_steps_down, job.attempts) == (
        JobState.INTERRUPTED,
        "resident,fp32,tile=256",
        1,
        1,
    )
    job = store.claim()
    assert job.resumed_from == 0
    store.finish(job_id, make(database, job))
    assert kinds(store, job_id) == [
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
    assert store.starts() == 4
    assert [event.detail for event in store.events(job_id) if event.kind is EventKind.PLAN_LOWERED] == [
        "resident,fp32,tile=256: memory ran out"
    ]


def test_starts_are_counted_though_their_jobs_are_gone(store: JobStore) -> None:
    (job_id,) = submit(store, "A")
    store.claim()
    store.fail(job_id, "no")
    store.clear_finished()
    assert store.starts() == 1


def test_a_job_that_waits_again_may_be_adopted(store: JobStore, database: Path) -> None:
    """A database restored from a backup does not know of the clips made since."""
    (job_id,) = submit(store, "A")
    store.adopt(job_id, make(database, store.job(job_id)))
    assert (store.job(job_id).state, kinds(store, job_id)[-1]) == (JobState.DONE, "adopted")
    store.adopt(job_id, make(database, store.job(job_id)))
    assert kinds(store, job_id).count("adopted") == 1


def test_the_heartbeat_counts_and_outlives_a_clock_set_back(store: JobStore) -> None:
    assert (store.queue_state().beats, store.queue_state().heartbeat_at) == (0, None)
    store.heartbeat(41, None)
    store.heartbeat(42, "job")
    state = store.queue_state()
    assert (state.beats, state.worker_pid, state.worker_job) == (2, 42, "job")


def test_a_clock_set_back_changes_no_order(store: JobStore, database: Path) -> None:
    first = submit(store, *"AA")
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE jobs SET created_at = '2099-01-01T00:00:00+00:00'")
        connection.execute("UPDATE events SET at = '2099-01-01T00:00:00+00:00'")
    later = submit(store, "A")
    assert line(store) == first + later
    assert [job.id for job in store.recent(9)] == (first + later)[::-1]
    assert work_off(store, database) == first + later
    assert kinds(store, first[0]) == ["submitted", "started", "done"]


# Requests of another version


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda stored: stored | {"upscale": 2}, "unknown setting 'upscale'"),
        (lambda stored: {key: value for key, value in stored.items() if key != "seed"}, "cannot be read"),
        (lambda stored: stored | {"scheduler": "magic"}, "cannot be read"),
        (lambda stored: [], ""),
    ],
)
def test_a_request_of_another_version_is_listed_and_not_run(
    spoil: Callable[[dict], object], says: str, store: JobStore, database: Path
) -> None:
    strange, good = submit(store, *"AA")
    with sqlite3.connect(database) as connection:
        stored = json.loads(connection.execute("SELECT request FROM jobs WHERE id = ?", (strange,)).fetchone()[0])
        connection.execute("UPDATE jobs SET request = ? WHERE id = ?", (json.dumps(spoil(stored)), strange))
    job = store.recent(9)[1]
    assert job.id == strange
    assert says in job.request_error
    assert "Open it with the version that stored it" in job.request_error
    with pytest.raises(UserError, match="cannot be made here"):
        store.duplicate(strange)
    assert store.claim().id == good
    assert (store.job(strange).state, store.job(strange).error) == (JobState.FAILED, job.request_error)


def test_what_ends_is_not_unfinished(store: JobStore) -> None:
    """Progress and late words of a worker do not bring a job back."""
    (job_id,) = submit(store, "A")
    store.claim()
    store.fail(job_id, "no")
    store.lower_plan(job_id, "resident,fp32,tile=256", "late")
    store.note_resumed(job_id, 3)
    store.progress(job_id, Progress(Stage.DENOISING, 1, 2), 1)
    job = store.job(job_id)
    assert (job.state, job.plan, job.resumed_from, job.step) == (JobState.FAILED, "", 0, 0)
    assert job.state not in UNFINISHED
