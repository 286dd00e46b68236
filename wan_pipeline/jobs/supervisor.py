"""Keeps workers running while there is work, from a thread of the app. They outlive the app on purpose."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread

import psutil
from filelock import Timeout

from wan_pipeline.clips.gallery import Gallery
from wan_pipeline.errors import DamagedDatabaseError, StorageError
from wan_pipeline.jobs.launch import Launch, RunningWorker, launch_worker
from wan_pipeline.jobs.table.reader import JobReader
from wan_pipeline.jobs.table.worker_queue import WorkerQueue
from wan_pipeline.jobs.watch import StallDetector, WorkerWatch
from wan_pipeline.jobs.worker.ending import Ending
from wan_pipeline.settings import Settings
from wan_pipeline.storage.backups import Backups, damage, repair_if_corrupt
from wan_pipeline.storage.database import Database
from wan_pipeline.storage.locks import CLUSTER_SLOT, WorkspaceLocks

POLL_SECONDS = 1.0
STALL_SECONDS = 120.0
"""A worker without a heartbeat for so long hangs. (Another program may hold the database for a while.)"""

logger = logging.getLogger(__name__)


class Supervisor:
    """Starts a worker process when jobs wait and none lives; starts another when it dies; ends one that hangs.

    With several GPUs there is a worker for each, the further ones started when there are as many jobs.
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
        self._poll_seconds = poll_seconds
        self._app_lock = locks.app()
        self._main_lock = locks.main_app()
        self._watches = [
            WorkerWatch(settings, slot, jobs, queue, locks, launch, StallDetector(stall_seconds, 2 * poll_seconds))
            for slot in (settings.slots if settings.makes_clips else ())
        ]
        self.tasks: list[Callable[[], None]] = []
        """What else an open app does at every poll, such as starting trainings; `work` does not."""
        self.notices: list[str] = []
        """What was repaired while the app was open, or leaves its clips to a cluster, for the person."""
        self._backups = Backups(settings.database)
        self._wake = Event()
        self._closing = Event()
        self._thread = Thread(target=self._run, name="supervisor", daemon=True)

    def start(self) -> None:
        """Hold the app's lock, start a worker to be warm for the first job, and start to supervise."""
        self._app_lock.acquire()
        if self._is_main() and self._watches and not self._watches[0].is_alive:
            self._watches[0].start()
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
            for process in self._processes():
                process.terminate()
            for process in self._processes():
                process.wait()
            raise
        while any(process.poll() is None for process in self._processes()) and not self._locks.any_app_is_alive():
            time.sleep(self._poll_seconds / 10)  # they end by themselves

    def _processes(self) -> list[RunningWorker]:
        """The workers that this process started."""
        return [watch.process for watch in self._watches if watch.process is not None]

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
        rank = 0
        for watch in self._watches:
            if (code := watch.poll()) is not None:
                self._handle_exit(watch, code)
            if watch.process is not None or watch.is_alive:
                watch.end_if_hung()
            elif watch.is_wanted(rank):
                watch.start()
            rank += watch.works

    def _handle_exit(self, watch: WorkerWatch, code: int) -> None:
        """Fail the waiting jobs when in every slot worker after worker has ended before it took one up.

        While another slot has a worker, or may get one, the failing slot is tried again after pauses that grow. While a
        cluster works for the workspace the jobs are left to it, also when it is started again.
        """
        if code == Ending.NO_DATABASE:
            self._repair()
        reason = watch.handle_exit(code)
        if reason is None:
            return
        logger.error("%s", reason)
        if any(other.works for other in self._watches):
            return
        if self._locks.worker_is_alive(CLUSTER_SLOT):
            self._leave_to_cluster(reason)
            return
        self._queue.fail_unfinished(reason)
        for failed in self._watches:
            failed.reset_backoff()

    def _leave_to_cluster(self, reason: str) -> None:
        notice = f"{reason} Clips are left to the cluster."
        if notice not in self.notices:
            self.notices.append(notice)

    @contextmanager
    def _repaired_database(self) -> Iterator[None]:
        """Back the database up from time to time, and repair it if it is found damaged within the block."""
        try:
            yield
            self._backups.tick()
        except DamagedDatabaseError as error:
            logger.warning("%s", error)
            self._repair()

    def _repair(self) -> None:
        """Restore a damaged database from a backup. Not while a worker or a cluster may write to it."""
        if damage(self._settings.database) is None:  # another program had it for a moment, or has put it back
            return
        for watch in self._watches:
            watch.kill()
        is_in_use = any(watch.is_alive for watch in self._watches) or self._locks.worker_is_alive(CLUSTER_SLOT)
        if not is_in_use and (repairs := repair_if_corrupt(self._settings.database, is_open=True)):
            logger.info("%s", " ".join(repairs))  # the page and the command line show them to the person
            self.notices += repairs
            Gallery(Database(self._settings.database), self._settings.clips).rescan()
