"""What a worker does first: settle what a dead one left behind."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress

from filelock import Timeout

from wan_pipeline.jobs.job import FINISHED, Job, JobState
from wan_pipeline.jobs.log import JobLogs
from wan_pipeline.jobs.table.reader import JobReader
from wan_pipeline.jobs.table.worker_queue import WorkerQueue
from wan_pipeline.jobs.worker.files import JobFiles, remove_stray_parts
from wan_pipeline.settings import Settings
from wan_pipeline.storage.crash import CrashPoint, crash_point
from wan_pipeline.storage.locks import WorkspaceLocks

GLANCE_SECONDS = 0.2
"""How long to wait for another worker's lock: longer than `is_held` has it, which makes a free lock look taken."""
END_NOT_WRITTEN = "How it ended could not be written to the database."

logger = logging.getLogger(__name__)


def recover(settings: Settings, jobs: JobReader, queue: WorkerQueue, logs: JobLogs, locks: WorkspaceLocks) -> None:
    """Settle what a dead worker left, of this slot or of another that has no worker now.

    A clip that is whole on the disk is adopted, not rendered again. While no other worker lives that goes for waiting
    jobs too: a database restored from a backup does not know its last clips.
    """
    others = jobs.running_slots().union(settings.slots) - {settings.slot}
    with _held(locks, others) as dead:
        _settle(settings, jobs, queue, logs, {settings.slot, *dead}, with_waiting=dead == others)
    _remove_strays(settings, jobs, logs)


def recover_unwatched(
    settings: Settings, jobs: JobReader, queue: WorkerQueue, logs: JobLogs, locks: WorkspaceLocks
) -> None:
    """Settle what dead workers left of slots that no app watches: there were more `--devices` when they started."""
    unwatched = jobs.running_slots().difference(settings.slots)
    with _held(locks, unwatched) as dead:
        if dead:
            _settle(settings, jobs, queue, logs, dead, with_waiting=False)


def recover_left(
    settings: Settings, jobs: JobReader, queue: WorkerQueue, logs: JobLogs, in_the_making: Collection[str]
) -> None:
    """Settle the running jobs of this process's own slot but those `in_the_making`, by their ids.

    They are over here, and the database could not be used when that was to be written.
    """
    for job in jobs.active():
        if job.state is JobState.RUNNING and job.slot == settings.slot and job.id not in in_the_making:
            _adopt(settings, queue, logs, job)
            _put_back(queue.recover((settings.slot,), job.id, END_NOT_WRITTEN), logs)


@contextmanager
def _held(locks: WorkspaceLocks, slots: Collection[int]) -> Iterator[set[int]]:
    """Those of the slots that have no worker. None can start within the block, for this process holds their locks."""
    dead = set()
    with ExitStack() as stack:
        for slot in slots:
            with suppress(Timeout):
                stack.enter_context(locks.worker(slot).acquire(timeout=GLANCE_SECONDS))
                dead.add(slot)
        yield dead


def _settle(
    settings: Settings, jobs: JobReader, queue: WorkerQueue, logs: JobLogs, dead: Collection[int], *, with_waiting: bool
) -> None:
    """Adopt or put back the jobs that the workers of these slots left running; `with_waiting` adopt waiting ones too.

    The locks of the slots must be held: a worker that starts meanwhile would claim a job which is settled here.
    """
    for job in jobs.active():
        is_running = job.state is JobState.RUNNING
        if not (job.slot in dead if is_running else with_waiting):
            continue
        _adopt(settings, queue, logs, job)
    crash_point(CrashPoint.RECOVERING)
    _put_back(queue.recover(dead), logs)


def _adopt(settings: Settings, queue: WorkerQueue, logs: JobLogs, job: Job) -> None:
    """Adopt the clip if it is whole on the disk. Of one that was being made, what is half done is removed."""
    files = JobFiles(settings, job)
    if finished := files.finished():
        queue.adopt(job.id, finished)
        logs.remove(job.id)
        logger.warning("The clip of job %s was found whole and adopted: %s", job.id, finished.clip.name)
    if job.state is JobState.RUNNING:
        files.remove_unfinished()


def _put_back(recovered: Iterable[Job], logs: JobLogs) -> None:
    for job in recovered:
        logger.warning("Job %s was left running by a worker that died; now it is %s.", job.id, job.state)
        logs.add(job.id, f"The worker died here, in attempt {job.attempts}. The job is {job.state} now.")


def _remove_strays(settings: Settings, jobs: JobReader, logs: JobLogs) -> None:
    """Remove checkpoints, previews and logs of jobs that are finished or gone."""
    remove_stray_parts(settings)
    for path in (*settings.checkpoints.glob("*.safetensors"), *settings.previews.glob("*.webp")):
        job = jobs.job(path.stem)
        if job is None or job.state in FINISHED:
            path.unlink(missing_ok=True)
    for path in settings.job_logs.glob("*.log"):
        if jobs.job(path.stem) is None:  # it was cleared away
            logs.remove(path.stem)
