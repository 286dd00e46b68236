"""What several workers must not do to each other: taken for hanging, settled while alive, or tried without end."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import pytest
import torch

from tests.support.queues import OpenQueue
from tests.support.requests import make_request
from tests.support.studios import QUICK, wait_for, working
from wan_pipeline.jobs.job import EventKind, JobState
from wan_pipeline.jobs.log import JobLogs
from wan_pipeline.jobs.supervisor import Supervisor
from wan_pipeline.jobs.table.worker_queue import WorkerQueue
from wan_pipeline.jobs.watch import MAX_FAILED_STARTS, StallDetector, WorkerWatch
from wan_pipeline.jobs.worker import worker as worker_module
from wan_pipeline.jobs.worker.ending import Ending
from wan_pipeline.jobs.worker.files import JobFiles
from wan_pipeline.jobs.worker.recovery import recover
from wan_pipeline.jobs.worker.worker import Worker
from wan_pipeline.settings import Settings
from wan_pipeline.storage.backups import Backups, damage
from wan_pipeline.storage.database import Database
from wan_pipeline.storage.locks import CLUSTER_SLOT, WorkspaceLocks
from wan_pipeline.studio import Studio


@pytest.fixture
def pair(settings: Settings) -> Settings:
    return replace(settings, devices="0,1")


@pytest.fixture
def locks(settings: Settings) -> WorkspaceLocks:
    return WorkspaceLocks(settings.workspace)


def of_slot(settings: Settings, queue: OpenQueue, slot: int) -> WorkerQueue:
    return WorkerQueue(Database(settings.database), queue.jobs, slot)


@pytest.fixture
def idle() -> Iterator[subprocess.Popen[bytes]]:
    """A process that does nothing, and has the name of a worker."""
    with subprocess.Popen([sys.executable, "-c", "input()", "wan_pipeline"], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


@pytest.mark.parametrize("slot", [0, 1])
def test_a_worker_is_idle_while_another_has_the_only_clip(
    pair: Settings, queue: OpenQueue, locks: WorkspaceLocks, idle: subprocess.Popen[bytes], slot: int
) -> None:
    """It does not beat, and is ended only once it leaves a job alone that it could claim."""
    watch = WorkerWatch(pair, slot, queue.jobs, queue.worker, locks, lambda _: idle, StallDetector(0.0, 1.0))
    watch.start()
    busy = queue.editor.submit(make_request())
    of_slot(pair, queue, 1 - slot).claim()
    for _ in range(3):
        watch.end_if_hung()
    assert idle.poll() is None
    queue.editor.submit(make_request(seed=2))
    for _ in range(2):
        watch.end_if_hung()
    idle.wait(60)
    assert EventKind.HUNG not in [event.kind for event in queue.jobs.events(busy)]


def test_no_other_worker_starts_while_its_clips_are_settled(
    pair: Settings, queue: OpenQueue, locks: WorkspaceLocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = queue.editor.submit(make_request())
    of_slot(pair, queue, 1).claim()
    held: list[bool] = []
    monkeypatch.setattr(JobFiles, "finished", lambda files: held.append(locks.worker_is_alive(1)))
    recover(pair, queue.jobs, queue.worker, JobLogs(pair.job_logs), locks)
    assert held == [True] and not locks.worker_is_alive(1)
    assert queue.jobs.existing(left).state is JobState.INTERRUPTED


def test_while_another_worker_lives_its_clip_and_those_that_wait_are_left_alone(
    pair: Settings, queue: OpenQueue, locks: WorkspaceLocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [queue.editor.submit(make_request(seed=seed)) for seed in range(3)]
    of_slot(pair, queue, 1).claim()
    queue.worker.claim()
    looked: list[str] = []
    monkeypatch.setattr(JobFiles, "finished", lambda files: looked.append(files.checkpoint.stem))
    with locks.worker(1):
        recover(pair, queue.jobs, queue.worker, JobLogs(pair.job_logs), locks)
    assert looked == [ids[1]]
    states = [queue.jobs.existing(job_id).state for job_id in ids]
    assert states == [JobState.RUNNING, JobState.INTERRUPTED, JobState.QUEUED]


def test_what_a_worker_left_that_no_app_watches_is_made_by_another(
    studio: Studio, settings: Settings, queue: OpenQueue, locks: WorkspaceLocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The app was started again with fewer `--devices`, and then the worker of the second dies."""
    monkeypatch.setattr(worker_module, "RECOVERY_SECONDS", 0.0)
    job_id = studio.submit(QUICK)
    of_slot(settings, queue, 1).claim()
    second = locks.worker(1)
    second.acquire()
    with working(settings):
        wait_for(lambda: studio.jobs.queue_state().is_ready, "the first worker")
        assert studio.jobs.existing(job_id).state is JobState.RUNNING
        second.release()
    job = studio.jobs.existing(job_id)
    assert (job.state, job.slot, job.attempts) == (JobState.DONE, 0, 2)


class Ended:
    """A process that has ended."""

    pid = 0

    def __init__(self, code: int) -> None:
        self._code = code

    def poll(self) -> int:
        return self._code

    terminate = kill = lambda self: None
    wait = poll


@pytest.mark.parametrize(("code", "starts"), [(9, MAX_FAILED_STARTS + 1), (Ending.NO_DEVICE, 1)])
def test_a_slot_that_cannot_start_is_not_tried_without_end_beside_one_that_works(
    pair: Settings, queue: OpenQueue, locks: WorkspaceLocks, code: int, starts: int
) -> None:
    started: list[int] = []

    def launch(settings: Settings) -> Ended:
        started.append(settings.slot)
        return Ended(code)

    ids = [queue.editor.submit(make_request(seed=seed)) for seed in range(2)]
    supervisor = Supervisor(pair, queue.jobs, queue.worker, locks, launch)
    with locks.worker(0):
        for _ in range(12):
            supervisor._poll()
    assert started == [1] * starts
    assert [queue.jobs.existing(job_id).state for job_id in ids] == [JobState.QUEUED] * 2


class Lasting(Ended):
    """A process that goes on until it is killed."""

    def __init__(self) -> None:
        self.is_killed = False

    def poll(self) -> int | None:
        return -9 if self.is_killed else None

    def kill(self) -> None:
        self.is_killed = True

    wait = poll


def test_a_worker_that_could_not_use_a_sound_database_costs_no_other(
    pair: Settings, queue: OpenQueue, locks: WorkspaceLocks
) -> None:
    others: list[Lasting] = []

    def launch(settings: Settings) -> Ended:
        if not settings.slot:
            return Ended(Ending.NO_DATABASE)
        others.append(Lasting())
        return others[-1]

    for seed in range(2):
        queue.editor.submit(make_request(seed=seed))
    supervisor = Supervisor(pair, queue.jobs, queue.worker, locks, launch)
    for _ in range(3):
        supervisor._poll()
    assert [other.is_killed for other in others] == [False]


def test_without_any_slot_that_works_the_jobs_fail_in_words(
    pair: Settings, queue: OpenQueue, locks: WorkspaceLocks
) -> None:
    supervisor = Supervisor(pair, queue.jobs, queue.worker, locks, lambda _: Ended(Ending.NO_DEVICE))
    for _ in range(2):  # the second is tried again
        job_id = queue.editor.submit(make_request())
        for _ in range(3):
            supervisor._poll()
        error = queue.jobs.existing(job_id).error or ""
        assert error.startswith("GPU 1 of --devices 0,1 is not one that torch can use here; leave it out")


@pytest.mark.parametrize("code", [Ending.NO_DEVICE, 9])
def test_what_no_worker_here_can_make_is_left_to_a_cluster(
    settings: Settings, queue: OpenQueue, locks: WorkspaceLocks, code: int
) -> None:
    """`--devices 0` where there is no GPU, beside `cluster`."""
    supervisor = Supervisor(replace(settings, devices="0"), queue.jobs, queue.worker, locks, lambda _: Ended(code))
    on_node, waiting = (queue.editor.submit(make_request(seed=seed)) for seed in range(2))
    of_slot(settings, queue, CLUSTER_SLOT).claim()
    with locks.worker(CLUSTER_SLOT):
        for _ in range(2 * MAX_FAILED_STARTS):
            supervisor._poll()
    states = [queue.jobs.existing(job_id).state for job_id in (on_node, waiting)]
    assert states == [JobState.RUNNING, JobState.QUEUED]
    assert [notice.endswith("Clips are left to the cluster.") for notice in supervisor.notices] == [True]


def test_a_damaged_database_is_not_replaced_while_a_cluster_writes_to_it(
    settings: Settings, queue: OpenQueue, locks: WorkspaceLocks
) -> None:
    queue.editor.submit(make_request())
    Backups(settings.database).backup()
    settings.database.write_bytes(b"damaged" * 1000)
    supervisor = Supervisor(replace(settings, devices="none"), queue.jobs, queue.worker, locks)
    with locks.worker(CLUSTER_SLOT):
        supervisor._repair()
        assert damage(settings.database) and not supervisor.notices
    supervisor._repair()
    assert damage(settings.database) is None and supervisor.notices


@pytest.mark.parametrize("code", [Ending.NO_DEVICE, 9])
def test_the_only_clip_is_made_by_the_worker_that_can_start(
    pair: Settings, queue: OpenQueue, locks: WorkspaceLocks, code: int
) -> None:
    """`--devices 5,1` where there is no GPU 5."""
    started: list[int] = []

    def launch(settings: Settings) -> Ended:
        started.append(settings.slot)
        return Lasting() if settings.slot else Ended(code)

    job_id = queue.editor.submit(make_request())
    supervisor = Supervisor(pair, queue.jobs, queue.worker, locks, launch)
    for _ in range(MAX_FAILED_STARTS + 2):
        supervisor._poll()
    assert started.count(1) == 1
    assert queue.jobs.existing(job_id).state is JobState.QUEUED


def test_a_worker_whose_device_another_clip_uses_is_not_taken_for_hung(
    pair: Settings, queue: OpenQueue, locks: WorkspaceLocks, idle: subprocess.Popen[bytes]
) -> None:
    watch = WorkerWatch(pair, 1, queue.jobs, queue.worker, locks, lambda _: idle, StallDetector(0.0, 1.0))
    watch.start()
    queue.editor.submit(make_request())
    with locks.device(1):
        for _ in range(3):
            watch.end_if_hung()
    assert idle.poll() is None
    for _ in range(2):
        watch.end_if_hung()
    idle.wait(60)


def test_a_gpu_that_is_not_there_does_not_become_the_cpu(
    pair: Settings, queue: OpenQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available: None)
    job_id = queue.editor.submit(make_request())
    for device in ("", "cuda"):
        assert Worker(replace(pair, device=device)).run() is Ending.NO_DEVICE
    assert queue.jobs.existing(job_id).state is JobState.QUEUED


def test_a_studio_whose_clips_a_cluster_makes_starts_no_worker(settings: Settings) -> None:
    launched: list[Settings] = []
    with Studio(replace(settings, devices="none"), partial(Supervisor, launch=launched.append)) as studio:
        studio.start()
    assert launched == [] and list(studio.settings.slots) == [0] and studio.settings.device_numbers == ()
