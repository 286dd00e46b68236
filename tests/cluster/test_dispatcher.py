"""Jobs on nodes, against the real store: made once each, whatever becomes of a node, by its own checkpoint."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread

import pytest

from tests.support.nodes import STEPS, LocalNode, LocalPool, StepRenderer
from tests.support.studios import QUICK, wait_for
from wan_pipeline.cluster import dispatcher as module
from wan_pipeline.cluster import renderer
from wan_pipeline.cluster.dispatcher import Dispatcher
from wan_pipeline.cluster.wire import call_error
from wan_pipeline.errors import DiskFullError, LoraError, NodeLost, StorageError, UserError
from wan_pipeline.jobs.job import EventKind, JobState
from wan_pipeline.jobs.table.endings import MAX_ATTEMPTS
from wan_pipeline.jobs.table.worker_queue import CLUSTER_ENDED, WorkerQueue
from wan_pipeline.jobs.worker import retry
from wan_pipeline.jobs.worker.recovery import END_NOT_WRITTEN
from wan_pipeline.requests.request import LoraChoice
from wan_pipeline.settings import Settings
from wan_pipeline.storage.database import Database
from wan_pipeline.storage.locks import CLUSTER_SLOT, WorkspaceLocks
from wan_pipeline.studio import Studio

POLL_SECONDS = 0.01


def dispatcher(settings: Settings, pool: LocalPool) -> Dispatcher:
    return Dispatcher(settings, pool, lambda sentence: None, POLL_SECONDS)


@contextmanager
def dispatching(settings: Settings, pool: LocalPool) -> Iterator[Event]:
    """A dispatcher in a thread, until the block ends; gives what makes it leave."""
    leaving = Event()
    thread = Thread(target=dispatcher(settings, pool).run, args=(leaving,), daemon=True)
    thread.start()
    try:
        yield leaving
    finally:
        leaving.set()
        thread.join(60)
        assert not thread.is_alive()


def node(tmp_path: Path, name: str, waits_at: int = 0, steps: list[int] | None = None) -> LocalNode:
    return LocalNode(tmp_path / name, name, lambda settings: StepRenderer(settings, steps, waits_at=waits_at))


def submit(studio: Studio, count: int) -> list[str]:
    return [studio.submit(replace(QUICK, seed=seed)) for seed in range(count)]


def test_two_nodes_make_every_clip_once(studio: Studio, settings: Settings, tmp_path: Path) -> None:
    ids = submit(studio, 4)
    nodes = [node(tmp_path, "a"), node(tmp_path, "b")]
    dispatcher(settings, LocalPool(*nodes)).run(Event(), until_done=True)
    jobs = [studio.jobs.existing(job_id) for job_id in ids]
    assert [(job.state, job.attempts, job.slot) for job in jobs] == [(JobState.DONE, 1, CLUSTER_SLOT)] * 4
    assert len({job.frames_sha256 for job in jobs}) == 4 and all(job.clip and job.clip.is_file() for job in jobs)
    assert sum(len(made.steps) for lent in nodes for made in lent.made) == 4 * STEPS
    assert not list(settings.checkpoints.glob("*"))


def test_a_clip_of_which_the_first_steps_were_not_seen_is_not_told_as_resumed(
    studio: Studio, settings: Settings, tmp_path: Path
) -> None:
    """A node is asked now and then, and takes steps between."""
    [job_id] = submit(studio, 1)
    lent = node(tmp_path, "a", waits_at=2)
    work = Dispatcher(settings, LocalPool(lent), lambda sentence: None, poll_seconds=0.5)
    leaving = Event()
    thread = Thread(target=work.run, args=(leaving,), daemon=True)
    thread.start()
    wait_for(lambda: studio.jobs.existing(job_id).step == 2, "step 2")
    lent.made[0].goes_on.set()
    wait_for(lambda: studio.jobs.existing(job_id).state is JobState.DONE, "the clip")
    leaving.set()
    thread.join(60)
    assert [event.kind for event in studio.jobs.events(job_id)] == [
        EventKind.SUBMITTED,
        EventKind.STARTED,
        EventKind.DONE,
    ]


def test_a_lost_nodes_clip_goes_on_elsewhere_from_its_checkpoint(
    studio: Studio, settings: Settings, tmp_path: Path
) -> None:
    [job_id] = submit(studio, 1)
    steps: list[int] = []
    first = node(tmp_path, "a", waits_at=2, steps=steps)
    pool = LocalPool(first)
    checkpoint = settings.checkpoints / f"{job_id}.safetensors"
    with dispatching(settings, pool):
        wait_for(lambda: checkpoint.exists() and checkpoint.read_text() == "2", "the checkpoint sent back")
        first.is_lost = True
        wait_for(lambda: pool.dropped == [first], "the lost node dropped")
        pool.nodes.append(node(tmp_path, "b", steps=steps))
        wait_for(lambda: studio.jobs.existing(job_id).state is JobState.DONE, "the clip")
    assert steps == [1, 2, 3, 4]
    assert studio.jobs.existing(job_id).attempts == 2
    kinds = [event.kind for event in studio.jobs.events(job_id)]
    started, lost = EventKind.STARTED, EventKind.INTERRUPTED
    assert [kind for kind in kinds if kind is not EventKind.RESUMED] == [
        EventKind.SUBMITTED,
        started,
        lost,
        started,
        EventKind.DONE,
    ]


def test_a_clip_that_loses_node_after_node_is_quarantined(studio: Studio, settings: Settings, tmp_path: Path) -> None:
    [job_id] = submit(studio, 1)
    nodes = [node(tmp_path, name) for name in "abc"]
    for lost in nodes:
        lost.is_lost = True
    pool = LocalPool(*nodes)
    dispatcher(settings, pool).run(Event(), until_done=True)
    job = studio.jobs.existing(job_id)
    assert job.state is JobState.QUARANTINED
    assert len(pool.dropped) == MAX_ATTEMPTS
    assert job.error and job.error.startswith(
        "The worker was lost 2 times while making this clip, the last time because: b is gone. Retry it"
    )
    [interrupted] = [event for event in studio.jobs.events(job_id) if event.kind is EventKind.INTERRUPTED]
    assert interrupted.detail == "its worker was lost in attempt 1: a is gone"


def test_a_lora_whose_name_a_node_could_misread_fails_its_clip_and_costs_no_node(
    studio: Studio, settings: Settings, tmp_path: Path
) -> None:
    [job_id] = submit(studio, 1)
    (settings.loras / "style:v2.safetensors").write_bytes(b"weights")
    with Database(settings.database).transaction() as connection:
        request = replace(studio.jobs.existing(job_id).request, loras=(LoraChoice("style:v2"),)).to_json()
        connection.execute("UPDATE jobs SET request = ? WHERE id = ?", (request, job_id))
    pool = LocalPool(node(tmp_path, "a"))
    dispatcher(settings, pool).run(Event(), until_done=True)
    job = studio.jobs.existing(job_id)
    assert (job.state, job.attempts, pool.dropped) == (JobState.FAILED, 1, [])
    assert job.error and job.error.startswith("The file 'style:v2.safetensors' cannot be sent to another machine")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (LoraError("No such expert."), LoraError("No such expert.")),
        (NodeLost("Changed."), NodeLost("Changed.")),
        (StorageError("Its disk is full."), NodeLost("a failed: Its disk is full.")),
        (ValueError("odd"), NodeLost("a failed: odd.")),
    ],
)
def test_only_a_users_error_of_a_call_is_the_clips(error: Exception, told: Exception) -> None:
    heard = call_error("a", error)
    assert (type(heard), str(heard)) == (type(told), str(told))


def test_a_clip_that_a_dead_cluster_command_left_is_told_so(studio: Studio, settings: Settings, tmp_path: Path) -> None:
    [job_id] = submit(studio, 1)
    WorkerQueue(Database(settings.database), studio.jobs, CLUSTER_SLOT).claim()
    dispatcher(settings, LocalPool(node(tmp_path, "a"))).run(Event(), until_done=True)
    [interrupted] = [event for event in studio.jobs.events(job_id) if event.kind is EventKind.INTERRUPTED]
    assert interrupted.detail == f"its worker was lost in attempt 1: {CLUSTER_ENDED.rstrip('.')}"
    assert studio.jobs.existing(job_id).state is JobState.DONE


def test_a_checkpoint_that_finds_no_room_here_costs_a_warning_and_not_the_clip(
    studio: Studio, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The node goes on with its clip: given another meanwhile, it would mix the two."""

    @contextmanager
    def no_room(path: Path) -> Iterator[Path]:
        raise DiskFullError("The disk is full.", path.parent)
        yield path

    monkeypatch.setattr(renderer, "whole_file", no_room)
    ids, lent = submit(studio, 2), node(tmp_path, "a")
    pool = LocalPool(lent)
    dispatcher(settings, pool).run(Event(), until_done=True)
    jobs = [studio.jobs.existing(job_id) for job_id in ids]
    assert [(job.state, job.attempts) for job in jobs] == [(JobState.DONE, 1)] * 2
    assert len({job.frames_sha256 for job in jobs}) == 2
    assert all("A checkpoint could not be saved: The disk is full." in job.warnings for job in jobs)
    assert not pool.dropped


def test_frames_that_arrive_changed_are_not_taken(studio: Studio, settings: Settings, tmp_path: Path) -> None:
    [job_id] = submit(studio, 1)
    bad, good = node(tmp_path, "bad"), node(tmp_path, "good")
    bad.damages_frames = True
    pool = LocalPool(bad, good)
    dispatcher(settings, pool).run(Event(), until_done=True)
    job = studio.jobs.existing(job_id)
    assert (job.state, job.attempts, pool.dropped) == (JobState.DONE, 2, [bad])


def test_a_cancel_reaches_the_node_and_its_progress_comes_back(
    studio: Studio, settings: Settings, tmp_path: Path
) -> None:
    [job_id] = submit(studio, 1)
    lent = node(tmp_path, "a", waits_at=2)
    with dispatching(settings, LocalPool(lent)):
        wait_for(lambda: studio.jobs.existing(job_id).step == 2, "the progress of step 2")
        studio.queue.cancel(job_id)
        wait_for(lambda: studio.jobs.existing(job_id).state is JobState.CANCELLED, "the end")
    assert lent.made[0].steps == [1, 2]


def test_leaving_puts_the_clip_back_with_its_checkpoint(studio: Studio, settings: Settings, tmp_path: Path) -> None:
    [job_id] = submit(studio, 1)
    with dispatching(settings, LocalPool(node(tmp_path, "a", waits_at=2))):
        wait_for(lambda: studio.jobs.existing(job_id).step == 2, "step 2")
    job = studio.jobs.existing(job_id)
    assert (job.state, job.attempts) == (JobState.QUEUED, 0)
    assert (settings.checkpoints / f"{job_id}.safetensors").read_text() == "2"


def test_a_model_that_no_node_has_leaves_its_clips_waiting(studio: Studio, settings: Settings, tmp_path: Path) -> None:
    ids = submit(studio, 2)
    first = studio.jobs.existing(ids[0]).request
    with Database(settings.database).transaction() as connection:
        other = replace(first, model="another").to_json()
        connection.execute("UPDATE jobs SET model = 'another', request = ? WHERE id = ?", (other, ids[0]))
    with dispatching(settings, LocalPool(node(tmp_path, "a"))):
        wait_for(lambda: studio.jobs.existing(ids[1]).state is JobState.DONE, "the clip behind")
    assert studio.jobs.existing(ids[0]).state is JobState.QUEUED


class Unwritten:
    """A method of the queue that finds the database out of reach, so many times."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str, times: int) -> None:
        self.times = times
        write = getattr(WorkerQueue, name)

        def refuse(queue: WorkerQueue, *arguments: object) -> object:
            self.times -= 1
            if self.times >= 0:
                raise StorageError("The database cannot be used.")
            return write(queue, *arguments)

        monkeypatch.setattr(WorkerQueue, name, refuse)
        monkeypatch.setattr(retry, "PAUSE_SECONDS", 0.0)
        monkeypatch.setattr(module, "RECOVERY_SECONDS", 0.1)


def test_a_loss_that_could_not_be_written_is_settled_while_the_dispatcher_goes_on(
    studio: Studio, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [job_id] = submit(studio, 1)
    lost, good = node(tmp_path, "lost"), node(tmp_path, "good")
    lost.is_lost = True
    monkeypatch.setattr(module, "recover", lambda *_: None)  # what it does at its start
    Unwritten(monkeypatch, "recover", retry.TRIES)
    dispatcher(settings, LocalPool(lost, good)).run(Event(), until_done=True)
    job = studio.jobs.existing(job_id)
    assert (job.state, job.attempts) == (JobState.DONE, 2)
    [interrupted] = [event for event in studio.jobs.events(job_id) if event.kind is EventKind.INTERRUPTED]
    assert interrupted.detail == f"its worker was lost in attempt 1: {END_NOT_WRITTEN.rstrip('.')}"


def test_a_clip_whose_end_could_not_be_written_is_adopted(
    studio: Studio, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [job_id] = submit(studio, 1)
    Unwritten(monkeypatch, "finish", retry.TRIES)
    lent = node(tmp_path, "a")
    dispatcher(settings, LocalPool(lent)).run(Event(), until_done=True)
    job = studio.jobs.existing(job_id)
    assert (job.state, job.attempts, len(lent.made[0].steps)) == (JobState.DONE, 1, STEPS)
    assert [event.kind for event in studio.jobs.events(job_id)][-1] is EventKind.ADOPTED


def test_a_job_that_cannot_be_put_back_is_left_to_the_next_start(
    studio: Studio, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raised: list[object] = []
    monkeypatch.setattr(threading, "excepthook", raised.append)
    [job_id] = submit(studio, 1)
    Unwritten(monkeypatch, "release", 1)
    with dispatching(settings, LocalPool(node(tmp_path, "a", waits_at=2))):
        wait_for(lambda: studio.jobs.existing(job_id).step == 2, "step 2")
    assert not raised and studio.jobs.existing(job_id).state is JobState.RUNNING
    dispatcher(settings, LocalPool(node(tmp_path, "b"))).run(Event(), until_done=True)
    assert studio.jobs.existing(job_id).state is JobState.DONE


@pytest.mark.soak
def test_only_one_hands_out_a_workspaces_jobs(settings: Settings, tmp_path: Path) -> None:
    Database.create(settings.database)
    with WorkspaceLocks(settings.workspace).worker(CLUSTER_SLOT), pytest.raises(UserError, match="Another `cluster`"):
        dispatcher(settings, LocalPool()).run(Event(), until_done=True)
