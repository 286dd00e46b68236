"""Hands the queue's jobs to nodes. The only writer of them: what nodes do is written to the queue from here."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from threading import BoundedSemaphore, Event, Thread
from typing import TYPE_CHECKING, Protocol

from filelock import Timeout

from wan_pipeline.cluster.files import StudioFiles
from wan_pipeline.cluster.queue import SerialDatabase, SharedQueue
from wan_pipeline.cluster.renderer import POLL_SECONDS, NodeRenderer
from wan_pipeline.cluster.wire import Node
from wan_pipeline.errors import StorageError, UserError
from wan_pipeline.jobs.job import Job
from wan_pipeline.jobs.log import JobLogs
from wan_pipeline.jobs.table.reader import JobReader
from wan_pipeline.jobs.worker.recovery import recover, recover_left
from wan_pipeline.jobs.worker.retry import retry_on_busy
from wan_pipeline.jobs.worker.room import RoomWatch
from wan_pipeline.jobs.worker.run import JobRun
from wan_pipeline.progress import Throttle
from wan_pipeline.settings import Settings
from wan_pipeline.storage.backups import Backups
from wan_pipeline.storage.locks import CLUSTER_SLOT, WorkspaceLocks

if TYPE_CHECKING:
    from wan_pipeline.engine.rendered import Rendered

TICK_SECONDS = 0.2
RECOVERY_SECONDS = 5.0
"""Between two looks for jobs whose end could not be written."""
LEFT = "How job %s ended could not be written; it is settled when the database can be used again."

logger = logging.getLogger(__name__)


class Pool(Protocol):
    """The nodes that there are."""

    def refresh(self) -> list[Node]:
        """Those that are ready now. Nodes join and leave between two calls."""

    def drop(self, node: Node) -> None:
        """End a node's worker, which may hang or be in disorder. Another takes its place if the machine is there."""


class _Assignment:
    """A job on a node, in a thread of its own."""

    def __init__(self, node: Node, job: Job, work: Callable[[_Assignment], None]) -> None:
        self.node = node
        self.job = job
        self.has_left_node = False
        """Whether the node is free for another; the clip may still be being saved."""
        self.spoils_node = False
        self._thread = Thread(target=work, args=(self,), name=f"node-{job.id[:8]}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    @property
    def is_over(self) -> bool:
        return not self._thread.is_alive()


class Dispatcher:
    """Claims jobs for nodes, one each, and brings every job to its end, whatever becomes of its node."""

    def __init__(
        self, settings: Settings, pool: Pool, tell: Callable[[str], None], poll_seconds: float = POLL_SECONDS
    ) -> None:
        """`tell` says to the person what changes; `poll_seconds` pass between two questions to a node."""
        self._settings = replace(settings, slot=CLUSTER_SLOT)
        self._pool = pool
        self._tell = tell
        self._poll_seconds = poll_seconds
        database = SerialDatabase(settings.database)
        self._jobs = JobReader(database, settings)
        self._logs = JobLogs(settings.job_logs)
        self._queue = SharedQueue(database, self._jobs, CLUSTER_SLOT)
        self._locks = WorkspaceLocks(settings.workspace)
        self._files = StudioFiles(settings)
        self._room = RoomWatch(self._jobs, self._queue)
        self._assignments: list[_Assignment] = []
        self._loaded: dict[str, tuple[str, bool]] = {}
        """By the name of a node, the model that it holds and whether in deterministic mode."""
        self._saving = BoundedSemaphore(max((os.cpu_count() or 2) // 2, 1))
        self._recoveries = Throttle(RECOVERY_SECONDS)
        self._wake = Event()

    def run(self, leaving: Event, *, until_done: bool = False) -> None:
        """Work until `leaving` is set; with `until_done`, until no job waits. Clips in the making then wait again.

        Raises UserError if another process does so for this workspace, StorageError if the database cannot be used.
        """
        lock = self._locks.worker(CLUSTER_SLOT)
        try:
            lock.acquire()
        except Timeout as error:
            workspace = self._settings.workspace
            raise UserError(f"Another `cluster` works for {workspace}; stop it first, or use that one.") from error
        try:
            recover(self._settings, self._jobs, self._queue, self._logs, self._locks)
            self._work(leaving, until_done=until_done)
        finally:
            leaving.set()
            self._end()
            lock.release()

    def _work(self, leaving: Event, *, until_done: bool) -> None:
        backups = Backups(self._settings.database)
        while not leaving.is_set():
            backups.tick()
            self._collect()
            if self._recoveries.is_due():
                retry_on_busy(self._recover_left, leaving)
            self._room.waits()
            self._assign(leaving)
            if until_done and not self._assignments and not self._jobs.has_work():
                return
            self._wake.wait(TICK_SECONDS)
            self._wake.clear()

    def _recover_left(self) -> None:
        in_the_making = [assignment.job.id for assignment in self._assignments]
        recover_left(self._settings, self._jobs, self._queue, self._logs, in_the_making)

    def _assign(self, leaving: Event) -> None:
        """Give each free node a job, as long as there are any that it has the model for."""
        busy = {held.node.name for held in self._assignments if held.spoils_node or not held.has_left_node}
        without_work: set[frozenset[str]] = set()
        for node in self._pool.refresh():
            if node.name in busy or node.models in without_work:
                continue
            loaded, deterministic = self._loaded.get(node.name, (None, False))
            claim = partial(self._queue.claim, loaded, node.models, deterministic=deterministic)
            if job := retry_on_busy(claim, leaving):
                self._loaded[node.name] = job.request.model, job.deterministic
                self._assignments.append(assignment := _Assignment(node, job, partial(self._make, leaving)))
                assignment.start()
            else:
                without_work.add(node.models)

    def _make(self, leaving: Event, assignment: _Assignment) -> None:
        """The whole of a job, in its thread."""
        job = assignment.job
        run = JobRun(job, self._settings, self._queue, lambda: None, leaving)
        rendered = None
        try:
            rendered = run.make(lambda _: self._renderer(assignment, leaving))
        except SystemExit:
            self._release(job, leaving)
        except StorageError:
            logger.exception(LEFT, job.id)
        finally:
            assignment.spoils_node = run.spoils_process
            assignment.has_left_node = True
            self._wake.set()
        if rendered is not None:
            self._save(run, rendered)
        self._room.note(found_none=run.found_no_room, saved=rendered is not None)
        self._wake.set()

    def _renderer(self, assignment: _Assignment, leaving: Event) -> NodeRenderer:
        deterministic = assignment.job.deterministic
        return NodeRenderer(
            assignment.node, self._files, leaving, deterministic=deterministic, poll_seconds=self._poll_seconds
        )

    def _release(self, job: Job, leaving: Event) -> None:
        """Let the job wait again."""
        try:
            retry_on_busy(partial(self._queue.release, job.id), leaving)
        except StorageError:
            logger.exception(LEFT, job.id)

    def _save(self, run: JobRun, rendered: Rendered) -> None:
        """Write the clip's files, no more of them at a time than this machine has processors for."""
        try:
            with self._saving:
                run.save(rendered)
        except StorageError:
            logger.exception(LEFT, run.job.id)

    def _collect(self) -> None:
        """Drop nodes that a job spoiled, and forget jobs that are over."""
        for assignment in self._assignments:
            if assignment.has_left_node and assignment.spoils_node:
                assignment.spoils_node = False
                self._loaded.pop(assignment.node.name, None)
                self._pool.drop(assignment.node)
                self._tell(f"{assignment.node.name} is dropped after job {assignment.job.id[:8]}; its log says why.")
        self._assignments = [held for held in self._assignments if held.spoils_node or not held.is_over]

    def _end(self) -> None:
        """Wait for what is in the making: it stops after its step, with a checkpoint, and waits again."""
        while self._assignments:
            self._collect()
            self._wake.wait(TICK_SECONDS)
            self._wake.clear()
