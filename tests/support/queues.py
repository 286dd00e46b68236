"""The queue of a database, opened as a process opens it."""

from __future__ import annotations

from pathlib import Path

from wan_pipeline.jobs.editor import QueueEditor
from wan_pipeline.jobs.reader import JobReader
from wan_pipeline.jobs.worker_queue import WorkerQueue
from wan_pipeline.settings import Settings
from wan_pipeline.storage.database import Database


class OpenQueue:
    """All three views: what a page reads, what a person changes, what a worker changes."""

    def __init__(self, database: Path) -> None:
        opened = Database.create(database)
        self.jobs = JobReader(opened, Settings(workspace=database.parent))
        self.editor = QueueEditor(opened, self.jobs)
        self.worker = WorkerQueue(opened, self.jobs)
