"""Keeps a worker running while there is work, from a thread of the app. The worker outlives the app on purpose."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread

import psutil
from filelock import Timeout

from wan_pipeline.clips.gallery import Gallery
from wan_pipeline.errors import DamagedDatabaseError, StorageError
from wan_pipeline.jobs.job import RUNNING, EventKind
from wan_pipeline.jobs.launch import Launch, RunningWorker, launch_worker, worker_log
from wan_pipeline.jobs.reader import JobReader
from wan_pipeline.jobs.watch import MAX_FAILED_STARTS, RestartBackoff, StallDetector
from wan_pipeline.jobs.worker.ending import Ending
from wan_pipeline.jobs.worker_queue import WorkerQueue
from wan_pipeline.settings import Settings
from wan_pipeline.storage.backups import Backups, repair_if_corrupt
from wan_pipeline.storage.crash import CrashPoint, crash_point
from wan_pipeline.storage.database import Database
from wan_pipeline.storage.files import has_room
from wan_pipeline.storage.locks import WorkspaceLocks

POLL_SECONDS = 1.0
STALL_SECONDS = 120.0
"""A worker without a heartbeat for so long hangs. (Another program may hold the database for a while.)"""

logger = logging.getLogger(__name__)


class Supervisor:
    """Starts a worker process when jobs wait and none lives; starts another when it dies; ends one that hangs.

    The next worker, which alone holds the lock, decides what becomes of the job that a dead worker left. Of several
    apps on one workspace the first supervises; the others are viewers, and one takes over when it leaves.
    """

    def __init__(
        self,
        settings: Settings,
        jobs: JobReader,
        queue: WorkerQueue,
        locks: WorkspaceLocks,
        launch: Launch = launch_worker,
        poll_seconds: float = POLL_SECONDS,
        stall_seconds: float = STALL_SECONDS,
    ) -> None:
        self._settings = settings
        self._jobs = jobs
        self._queue = queue
        self._locks = locks
        self._launch = launch
        self._poll_seconds = poll_seconds
        self._app_lock = locks.app()
        self._main_lock = locks.main_app()
        self._process: RunningWorker | None = None
        self._starts_at_launch = 0
        self.tasks: list[Callable[[], None]] = []
        """What else an open app does at every poll, such as starting trainings; `work` does not."""
        self.notices: list[str] = []
        """What was repaired while the app was open, one sentence each, for the person."""
        self._backups = Backups(settings.database)
        self._backoff = RestartBackoff()
        self._stall = StallDetector(stall_seconds, 2 * poll_seconds)
        self._wake = Event()
        self._closing = Event()
        self._thread = Thread(target=self._run, name="supervisor", daemon=True)

    def start(self) -> None:
        """Hold the app's lock, start a worker to be warm for the first job, and start to supervise."""
        self._app_lock.acquire()
        if self._is_main() and not self._locks.worker_is_alive():
            self._start_worker()
        self._thread.start()

    @property
    def is_viewer(self) -> bool:
        """Whether another app opened this workspace first and is still open."""
        return self._thread.is_alive() and not self._main_lock.is_locked

    def wake(self) -> None:
        """Poll now: there is a new job."""
        self._wake.set()

    def close(self) -> None:
        """Stop watching. A worker goes on until the queue is empty."""
        self._closing.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()
        self._main_lock.release()
        self._app_lock.release()

    def work(self, on_tick: Callable[[], None] = lambda: None) -> None:
        """Block until no job waits or the queue is paused, calling `on_tick` after each poll.

        On an interruption the worker it started stops too, and its job waits again. Raises StorageError.
        """
        try:
            with self._app_lock:
                self._work(on_tick)
        except BaseException:
            if self._process is not None:
                self._process.terminate()
                self._process.wait()
            raise
        while self._process is not None and self._process.poll() is None and not self._locks.any_app_is_alive():
            time.sleep(self._poll_seconds / 10)  # it ends by itself

    def _work(self, on_tick: Callable[[], None]) -> None:
        while True:
            with self._repaired_database():
                if not self._jobs.has_work():
                    return
                self._poll()
                on_tick()
            self._wake.wait(self._poll_seconds)

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                if self._is_main():
                    with self._repaired_database():
                        self._poll()
                        for task in self.tasks:
                            task()
            except (StorageError, OSError, psutil.Error):
                logger.exception("The supervisor could not look after the queue; it tries again.")
            self._wake.wait(self._poll_seconds)
            self._wake.clear()

    def _is_main(self) -> bool:
        if not self._main_lock.is_locked:
            try:
                self._main_lock.acquire(timeout=0)
            except Timeout:
                return False
        return True

    def _poll(self) -> None:
        if self._process is not None and (code := self._process.poll()) is not None:
            self._process = None
            self._handle_exit(code)
        if self._process is not None or self._locks.worker_is_alive():
            self._end_if_hung()
        elif self._backoff.may_start() and self._jobs.unfinished():
            self._start_worker()

    def _start_worker(self) -> None:
        self._starts_at_launch = self._jobs.starts()
        self._stall.reset()
        self._process = self._launch(self._settings)
        crash_point(CrashPoint.WORKER_STARTED)

    def _handle_exit(self, code: int) -> None:
        """Fail the waiting jobs when worker after worker ends before it takes one up."""
        if code == Ending.NO_DATABASE:
            self._repair()
        if code == Ending.NOTHING_TO_DO or self._jobs.starts() != self._starts_at_launch:
            self._backoff = RestartBackoff()
            return
        logger.warning("The worker ended with exit status %d before it claimed a job.", code)
        self._backoff.add(code)
        if self._backoff.failed_starts >= MAX_FAILED_STARTS:
            self._backoff = RestartBackoff()
            log = worker_log(self._settings)
            self._queue.fail_unfinished(
                f"The worker process cannot start (exit status {code}); the reason is in {log}."
            )

    @contextmanager
    def _repaired_database(self) -> Iterator[None]:
        """Back the database up from time to time, and repair it if it is found damaged within the block."""
        try:
            yield
            self._backups.tick()
        except DamagedDatabaseError:
            self._repair()

    def _repair(self) -> None:
        """Restore a damaged database from a backup. Not while a worker may write to it."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        if not self._locks.worker_is_alive() and (repairs := repair_if_corrupt(self._settings.database)):
            logger.info("%s", " ".join(repairs))  # the page and the command line show them to the person
            self.notices += repairs
            Gallery(Database(self._settings.database), self._settings.clips).rescan()

    def _end_if_hung(self) -> None:
        """End a worker that lives and makes no progress: the next one goes on with the queue."""
        state = self._jobs.queue_state()
        if not self._jobs.will_render() or state.no_room is not None or not has_room(self._settings.workspace):
            self._stall.reset()  # without room no heartbeat can be written
            return
        if not self._stall.is_stalled(state.beats):
            return
        pid = self._process.pid if self._process is not None else state.worker_pid
        if pid is None or not _is_worker(pid):
            return
        logger.warning("The worker, process %d, has had no heartbeat for too long and is ended.", pid)
        for job in self._jobs.jobs(RUNNING):
            self._queue.record_event(job.id, EventKind.HUNG, f"process {pid} had no heartbeat and was ended")
        psutil.Process(pid).kill()
        self._stall.reset()


def _is_worker(pid: int) -> bool:
    """Whether the process is ours: its number may belong to another program by now. A thread cannot be ended."""
    if pid == os.getpid():
        return False
    try:
        return any("wan_pipeline" in part for part in psutil.Process(pid).cmdline())
    except psutil.NoSuchProcess:
        return False
