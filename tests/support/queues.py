"""The queue of a database, opened as a process opens it."""

from __future__ import annotations

from pathlib import Path

from tests.support.requests import make_request
from wan_pipeline.jobs.job import Finished, Job
from wan_pipeline.jobs.table.editor import QueueEditor
from wan_pipeline.jobs.table.reader import JobReader
from wan_pipeline.jobs.table.worker_queue import WorkerQueue
from wan_pipeline.settings import Settings
from wan_pipeline.storage.database import Database


class OpenQueue:
    """All three views: what a page reads, what a person changes, what a worker changes."""

    def __init__(self, database: Path) -> None:
        opened = Database.create(database)
        self.jobs = JobReader(opened, Settings(workspace=database.parent))
        self.editor = QueueEditor(opened, self.jobs)
        self.worker = WorkerQueue(opened, self.jobs)


def submit(queue: OpenQueue, *models: str) -> list[str]:
    """One job for each model, told apart by their seeds."""
    return queue.editor.submit_many([(make_request(model=model, seed=seed), "") for seed, model in enumerate(models)])


def make(database: Path, job: Job) -> Finished:
    clip = database.parent / "clips" / f"{job.id}.mp4"
    return Finished(job.request, clip, clip.with_suffix(".webp"), clip.with_suffix(".json"), "ab" * 32, {"saving": 1.5})


def work_off(queue: OpenQueue, database: Path, keep_loaded: bool = True) -> list[str]:
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
