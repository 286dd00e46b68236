"""Keeps a worker running while there is work, from a thread of the app. The worker outlives the app on purpose."""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread

import psutil
from filelock import Timeout

from wan_pipeline.clips.gallery import Gallery
from wan_pipeline.errors import DamagedDatabaseError, StorageError
from wan_pipeline.jobs.editor import JobStore
from wan_pipeline.jobs.job import EventKind, JobState
from wan_pipeline.jobs.launch import Launch, RunningWorker, launch_worker, worker_log
from wan_pipeline.jobs.worker.worker import Ending
from wan_pipeline.settings import Settings
from wan_pipeline.storage.backups import Backups, repair_if_corrupt
from wan_pipeline.storage.crash import CrashPoint, crash_point
from wan_pipeline.storage.database import Database
from wan_pipeline.storage.locks import WorkspaceLocks

LOOK_SECONDS = 1.0
SILENT_SECONDS = 120.0
"""A worker without a sign of life for so long hangs. (Another program may hold the database for a while.)"""
MAX_FAILED_STARTS = 3
"""A worker that ends by itself this often in a row without taking up a job will not do better the next time."""
MAX_PAUSE_SECONDS = 60.0

logger = logging.getLogger(__name__)


class Supervisor:
    """Starts a worker process when jobs wait and none lives; starts another when it dies; ends one that hangs.

    What becomes of the job that a dead worker left is decided by the next worker, which alone holds the lock. Of
    several apps on one workspace the first supervises; the others look on, and one of them takes over when it leaves.
    """

    def __init__(
        self,
        settings: Settings,
        store: JobStore,
        locks: WorkspaceLocks,
        launch: Launch = launch_worker,
        look_seconds: float = LOOK_SECONDS,
        silent_seconds: float = SILENT_SECONDS,
    ) -> None:
        self._settings = settings
        self._store = store
        self._locks = locks
        self._launch = launch
        self._look_seconds = look_seconds
        self._app_lock = locks.app()
        self._main_lock = locks.main_app()
        self._process: RunningWorker | None = None
        self._starts_at_launch = 0
        self.notices: list[str] = []
        """What was put right meanwhile, one sentence each, for the person."""
        self._backups = Backups(settings.database)
        self._deaths = _Deaths()
        self._silence = _Silence(silent_seconds, 2 * look_seconds)
        self._wake = Event()
        self._closing = Event()
        self._thread = Thread(target=self._run, name="supervisor", daemon=True)

    def start(self) -> None:
        """Tell workers that an app is open, start one to be warm for the first job, and keep watch."""
        self._app_lock.acquire()
        if self._is_main() and not self._locks.worker_is_alive():
            self._start_worker()
        self._thread.start()

    @property
    def is_viewer(self) -> bool:
        """Whether another app was first on this workspace and is still there."""
        return self._thread.is_alive() and not self._main_lock.is_locked

    def wake(self) -> None:
        """Look now: there is a new job."""
        self._wake.set()

    def close(self) -> None:
        """Stop watching. A worker goes on until the queue is empty."""
        self._closing.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()
        self._main_lock.release()
        self._app_lock.release()

    def work(self, looked: Callable[[], None] = lambda: None) -> None:
        """Stay until no job waits or the queue is paused, and call `looked` now and then: the command line's way.

        When it is interrupted the worker that it has started stops too, and gives its job back. Raises StorageError.
        """
        try:
            with self._app_lock:
                self._work(looked)
        except BaseException:
            if self._process is not None:
                self._process.terminate()
                self._process.wait()
            raise
        while self._process is not None and self._process.poll() is None and not self._locks.any_app_is_alive():
            time.sleep(self._look_seconds / 10)  # it leaves by itself

    def _work(self, looked: Callable[[], None]) -> None:
        while True:
            with self._sound_database():
                if not self._has_work():
                    return
                self._look()
                looked()
            self._wake.wait(self._look_seconds)

    def _has_work(self) -> bool:
        if self._store.queue_state().paused:
            return self._store.counts()[JobState.RUNNING] > 0
        return self._store.unfinished() > 0

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                if self._is_main():
                    with self._sound_database():
                        self._look()
            except (StorageError, OSError, psutil.Error):
                logger.exception("The supervisor could not look after the queue; it tries again.")
            self._wake.wait(self._look_seconds)
            self._wake.clear()

    def _is_main(self) -> bool:
        if not self._main_lock.is_locked:
            try:
                self._main_lock.acquire(timeout=0)
            except Timeout:
                return False
        return True

    def _look(self) -> None:
        if self._process is not None and (code := self._process.poll()) is not None:
            self._process = None
            self._note_end(code)
        if self._process is not None or self._locks.worker_is_alive():
            self._watch()
        elif self._deaths.may_start_again() and self._store.unfinished():
            self._start_worker()

    def _start_worker(self) -> None:
        self._starts_at_launch = self._store.starts()
        self._silence.broken()
        self._process = self._launch(self._settings)
        crash_point(CrashPoint.WORKER_STARTED)

    def _note_end(self, code: int) -> None:
        """Give up on the waiting jobs when worker after worker ends before it takes one up."""
        if code == Ending.NO_DATABASE:
            self._put_right()
        if code == Ending.NOTHING_TO_DO or self._store.starts() != self._starts_at_launch:
            self._deaths = _Deaths()
            return
        logger.warning("The worker ended with exit status %d before it took up a job.", code)
        self._deaths.add(code)
        if self._deaths.failed_starts >= MAX_FAILED_STARTS:
            self._deaths = _Deaths()
            log = worker_log(self._settings)
            self._store.fail_waiting(f"The worker process cannot start (exit status {code}); the reason is in {log}.")

    @contextmanager
    def _sound_database(self) -> Iterator[None]:
        """Backed up from time to time, and put right if it is found damaged within."""
        try:
            yield
            self._backups.tick()
        except DamagedDatabaseError:
            self._put_right()

    def _put_right(self) -> None:
        """Go on from a backup, also in the night, if the database is damaged. Not while a worker may write to it."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        if not self._locks.worker_is_alive() and (told := repair_if_corrupt(self._settings.database)):
            logger.info("%s", " ".join(told))  # the person is told by the page or the command line
            self.notices += told
            Gallery(Database(self._settings.database), self._settings.clips).rescan()

    def _watch(self) -> None:
        """End a worker that lives and does not work: the next one goes on with the queue."""
        if not self._has_work():
            self._silence.broken()
            return
        state = self._store.queue_state()
        if not self._silence.lasts(state.beats):
            return
        pid = self._process.pid if self._process is not None else state.worker_pid
        if pid is None or not _is_worker(pid):
            return
        logger.warning("The worker, process %d, has given no sign of life for too long and is ended.", pid)
        for job in self._store.jobs((JobState.RUNNING,)):
            self._store.tell(job.id, EventKind.HUNG, f"process {pid} gave no sign of life and was ended")
        psutil.Process(pid).kill()
        self._silence.broken()


class _Deaths:
    """Workers that ended one after another without taking up a job."""

    FROM_OUTSIDE = (
        Ending.NO_DATABASE,  # not the worker's fault: its disk may have room again
        *(-getattr(signal, name, 0) for name in ("SIGTERM", "SIGINT", "SIGKILL", "SIGHUP")),
        128 + signal.SIGTERM,
        0xC000013A,  # Ctrl+C on Windows
    )
    """Exit statuses that say nothing about the next worker. (Windows does not tell who has ended a process.)"""

    def __init__(self) -> None:
        self.failed_starts = 0
        self._count = 0
        self._not_before = 0.0

    def add(self, code: int) -> None:
        self._count += 1
        self.failed_starts = 0 if code in self.FROM_OUTSIDE else self.failed_starts + 1
        if self._count > MAX_FAILED_STARTS:
            pause = min(2.0 ** (self._count - MAX_FAILED_STARTS - 1), MAX_PAUSE_SECONDS)
            self._not_before = time.monotonic() + pause

    def may_start_again(self) -> bool:
        """At once after the first few; then after a pause that grows up to MAX_PAUSE_SECONDS."""
        return time.monotonic() >= self._not_before


class _Silence:
    """How long the count of heartbeats has stood still. No wall clock counts, and no sleep of the computer."""

    def __init__(self, limit_seconds: float, longest_gap: float) -> None:
        self._limit = limit_seconds
        self._longest_gap = longest_gap
        self._beats = -1
        self._seconds = 0.0
        self._looked_at = time.monotonic()

    def broken(self) -> None:
        self._seconds = 0.0

    def lasts(self, beats: int) -> bool:
        """Whether it lasts too long. A gap between two looks counts only as far as looks are apart in good order."""
        now = time.monotonic()
        gap = min(now - self._looked_at, self._longest_gap)
        self._seconds = self._seconds + gap if beats == self._beats else 0.0
        self._beats, self._looked_at = beats, now
        return self._seconds > self._limit


def _is_worker(pid: int) -> bool:
    """The number may belong to another program by now."""
    try:
        return any("wan_pipeline" in part for part in psutil.Process(pid).cmdline())
    except psutil.NoSuchProcess:
        return False
