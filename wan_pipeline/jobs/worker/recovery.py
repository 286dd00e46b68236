"""What a worker does first: settle what a dead one left behind."""

from __future__ import annotations

import logging
from collections.abc import Callable

from wan_pipeline.jobs.job import FINISHED, JobState
from wan_pipeline.jobs.log import JobLogs
from wan_pipeline.jobs.reader import JobReader
from wan_pipeline.jobs.worker.files import JobFiles, remove_stray_parts
from wan_pipeline.jobs.worker_queue import WorkerQueue
from wan_pipeline.settings import Settings
from wan_pipeline.storage.crash import CrashPoint, crash_point

logger = logging.getLogger(__name__)


def recover(
    settings: Settings, jobs: JobReader, queue: WorkerQueue, logs: JobLogs, is_alive: Callable[[int], bool]
) -> None:
    """Settle what a dead worker left, of this slot or of another that has no worker now.

    A clip that is whole on the disk is adopted, not rendered again.

    That goes for waiting jobs too: a database restored from a backup does not know its last clips. `is_alive` tells
    whether a slot has a worker.
    """
    active = jobs.active()
    running = {job.slot for job in active if job.state is JobState.RUNNING}
    dead = {settings.slot, *(slot for slot in running - {settings.slot} if not is_alive(slot))}
    for job in active:
        if job.state is JobState.RUNNING and job.slot not in dead:
            continue
        files = JobFiles(settings, job)
        if finished := files.finished():
            queue.adopt(job.id, finished)
            logs.remove(job.id)
            logger.warning("The clip of job %s was found whole and adopted: %s", job.id, finished.clip.name)
        if job.state is JobState.RUNNING:
            files.remove_unfinished()
    crash_point(CrashPoint.RECOVERING)
    for job in queue.recover(dead):
        logger.warning("Job %s was left running by a worker that died; now it is %s.", job.id, job.state)
        logs.add(job.id, f"The worker died here, in attempt {job.attempts}. The job is {job.state} now.")
    _remove_strays(settings, jobs, logs)


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
