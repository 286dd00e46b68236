"""The worker of one slot: started, started again when it dies, ended when it hangs."""

from __future__ import annotations

import logging
import math
import os
import signal
import time
from dataclasses import replace

import psutil

from wan_pipeline.jobs.job import WAITING, EventKind
from wan_pipeline.jobs.launch import Launch, RunningWorker, missing_device, worker_log
from wan_pipeline.jobs.table.reader import JobReader
from wan_pipeline.jobs.table.worker_queue import WorkerQueue
from wan_pipeline.jobs.worker.ending import Ending
from wan_pipeline.settings import Settings
from wan_pipeline.storage.crash import CrashPoint, crash_point
from wan_pipeline.storage.files import has_room
from wan_pipeline.storage.locks import WorkspaceLocks, is_held

MAX_FAILED_STARTS = 3
"""A worker that ends by itself this often in a row before it claims a job would do so again."""
MAX_PAUSE_SECONDS = 60.0

logger = logging.getLogger(__name__)


class RestartBackoff:
    """Counts workers that ended one after another before they claimed a job, and spaces the next starts."""

    FROM_OUTSIDE = (
        Ending.NO_DATABASE,  # not the worker's fault: its disk may have room again
        *(-getattr(signal, name, 0) for name in ("SIGTERM", "SIGINT", "SIGKILL", "SIGHUP")),
        128 + signal.SIGTERM,
        0xC000013A,  # Ctrl+C on Windows
    )
    """Exit statuses that say nothing about the next worker. (Windows does not say who ended a process.)"""

    def __init__(self) -> None:
        self.failed_starts = 0
        self._count = 0
        self._not_before = 0.0

    def add(self, code: int) -> None:
        """A worker ended with this exit status before it claimed a job."""
        self._count += 1
        self.failed_starts = 0 if code in self.FROM_OUTSIDE else self.failed_starts + 1
        if code == Ending.NO_DEVICE:  # nor will it be there at the next start
            self.failed_starts, self._not_before = MAX_FAILED_STARTS, math.inf
        elif self._count > MAX_FAILED_STARTS:
            pause = min(2.0 ** (self._count - MAX_FAILED_STARTS - 1), MAX_PAUSE_SECONDS)
            self._not_before = time.monotonic() + pause

    def may_start(self) -> bool:
        """At once after the first few ends; then after a pause that doubles up to MAX_PAUSE_SECONDS."""
        return time.monotonic() >= self._not_before


class StallDetector:
    """Measures for how long the count of heartbeats has not changed.

    Neither the wall clock nor a sleep of the computer counts: a gap between two polls is cut to `longest_gap`.
    """

    def __init__(self, limit_seconds: float, longest_gap: float) -> None:
        self._limit = limit_seconds
        self._longest_gap = longest_gap
        self._beats = -1
        self._seconds = 0.0
        self._polled_at = time.monotonic()

    def reset(self) -> None:
        self._seconds = 0.0

    def is_stalled(self, beats: int) -> bool:
        """Whether the count has been `beats` for longer than the limit."""
        now = time.monotonic()
        gap = min(now - self._polled_at, self._longest_gap)
        self._seconds = self._seconds + gap if beats == self._beats else 0.0
        self._beats, self._polled_at = beats, now
        return self._seconds > self._limit


class WorkerWatch:
    """Watches over the worker of one slot, whichever process started it."""

    def __init__(
        self,
        settings: Settings,
        slot: int,
        jobs: JobReader,
        queue: WorkerQueue,
        locks: WorkspaceLocks,
        launch: Launch,
        stall: StallDetector,
    ) -> None:
        self.settings = replace(settings, slot=slot)
        self.process: RunningWorker | None = None
        """The worker, if this process started it."""
        self._slot = slot
        self._jobs = jobs
        self._queue = queue
        self._locks = locks
        self._launch = launch
        self._starts_at_launch = 0
        self._backoff = RestartBackoff()
        self._stall = stall

    @property
    def is_alive(self) -> bool:
        return self._locks.worker_is_alive(self._slot)

    @property
    def works(self) -> bool:
        """Whether its worker lives, or may yet: it has not ended time after time before it took a job up."""
        return self.process is not None or self.is_alive or self._backoff.failed_starts < MAX_FAILED_STARTS

    def is_wanted(self, rank: int) -> bool:
        """Whether to start a worker now: the first for any job, another for each job more, and for what one left.

        `rank` is the number of workers before it, without those that cannot start.
        """
        if not self._backoff.may_start():
            return False
        return bool(self._jobs.running(self._slot)) or self._jobs.unfinished() > rank

    def start(self) -> None:
        self._starts_at_launch = self._jobs.starts(self._slot)
        self._stall.reset()
        self.process = self._launch(self.settings)
        crash_point(CrashPoint.WORKER_STARTED)

    def poll(self) -> int | None:
        """The exit status of the worker, if it has ended since the last call."""
        code = None if self.process is None else self.process.poll()
        if code is not None:
            self.process = None
        return code

    def handle_exit(self, code: int) -> str | None:
        """Why its worker cannot start, when one after another ends before it takes a job up; else None."""
        if code == Ending.NOTHING_TO_DO or self._jobs.starts(self._slot) != self._starts_at_launch:
            self.reset_backoff()
            return None
        logger.warning("The worker ended with exit status %d before it claimed a job.", code)
        self._backoff.add(code)
        if self._backoff.failed_starts < MAX_FAILED_STARTS:
            return None
        if code == Ending.NO_DEVICE:
            return missing_device(self.settings)
        return f"The worker process cannot start (exit status {code}); the reason is in {worker_log(self.settings)}."

    def reset_backoff(self) -> None:
        """Let the next start be a first one."""
        self._backoff = RestartBackoff()

    def kill(self) -> None:
        """End the worker that this process started, if it still runs."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def end_if_hung(self) -> None:
        """End a worker that lives and makes no progress: the next one goes on with the queue.

        One that has no job and can claim none does not beat: it waits, while the workers of other slots may have some,
        or its device has a share of another's clip.
        """
        state, counts = self._jobs.queue_state(self._slot), self._jobs.counts()
        can_claim = not state.paused and any(counts[waiting] for waiting in WAITING)
        running = self._jobs.running(self._slot)
        is_idle = not running and (not can_claim or is_held(self._locks.device(self._slot)))
        if is_idle or state.no_room is not None or not has_room(self.settings.workspace):
            self._stall.reset()  # without room no heartbeat can be written
            return
        if not self._stall.is_stalled(state.beats):
            return
        pid = self.process.pid if self.process is not None else state.worker_pid
        if pid is None or not _is_worker(pid):
            return
        logger.warning("The worker, process %d, has had no heartbeat for too long and is ended.", pid)
        for job_id in running:
            self._queue.record_event(job_id, EventKind.HUNG, f"process {pid} had no heartbeat and was ended")
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
