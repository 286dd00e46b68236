"""Processes the queue, one job at a time, with the model kept in memory between jobs.

One worker per workspace and GPU, by a lock of the operating system. It outlives the app and ends when the queue is
empty and no app is open. While one clip is rendered the one before is saved.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import partial
from threading import Event
from typing import TYPE_CHECKING

from filelock import Timeout

from wan_pipeline.errors import Cancelled, OutOfMemory, StorageError, StudioError, UserError
from wan_pipeline.jobs.device import wait_for_device
from wan_pipeline.jobs.job import Job, JobState
from wan_pipeline.jobs.launch import missing_device
from wan_pipeline.jobs.log import JobLogs
from wan_pipeline.jobs.table.reader import JobReader
from wan_pipeline.jobs.table.worker_queue import WorkerQueue
from wan_pipeline.jobs.worker.ending import Ending
from wan_pipeline.jobs.worker.heartbeat import Heartbeat
from wan_pipeline.jobs.worker.recovery import recover, recover_unwatched
from wan_pipeline.jobs.worker.render import Renderer
from wan_pipeline.jobs.worker.retry import retry_on_busy
from wan_pipeline.jobs.worker.room import RoomWatch
from wan_pipeline.jobs.worker.run import JobRun
from wan_pipeline.jobs.worker.saver import Saver
from wan_pipeline.progress import Observer, Progress, Stage, Throttle
from wan_pipeline.settings import Settings
from wan_pipeline.storage.backups import Backups
from wan_pipeline.storage.crash import CrashPoint, crash_point
from wan_pipeline.storage.database import Database
from wan_pipeline.storage.locks import WorkspaceLocks, any_is_held, is_held

if TYPE_CHECKING:
    from wan_pipeline.engine.rendered import Rendered

POLL_SECONDS = 0.2
RECOVERY_SECONDS = 5.0
"""Between two looks for jobs of slots that nobody watches."""
GUEST_POLL_SECONDS = 1.0
"""Between two looks of an idle worker at whether something else needs the device."""
TEXTS_AHEAD = 64
"""Waiting jobs whose prompts are encoded together; their embeddings fit into the engine's cache."""

logger = logging.getLogger(__name__)
MakeEngine = Callable[[Settings, bool], Renderer]
Settle = Callable[[Settings, JobReader, WorkerQueue, JobLogs, WorkspaceLocks], None]


class Worker:
    """Works for one workspace. Holds the engine from the first job on, and the loaded model between jobs."""

    def __init__(
        self,
        settings: Settings,
        make_engine: MakeEngine | None = None,
        stopping: Event | None = None,
        age_seconds: float = 0.0,
    ) -> None:
        """`make_engine` makes the renderer when it is first needed; the engine in this process if it is left out.

        When `stopping` is set the worker ends after the clip that it is making. `age_seconds`: since its process was
        launched.
        """
        self._launched_at = time.monotonic() - age_seconds
        self._settings = settings
        self._make_engine = make_engine or _engine_here
        self._stopping = stopping or Event()
        database = Database(settings.database)
        self._jobs = JobReader(database, settings)
        self._queue = WorkerQueue(database, self._jobs, settings.slot)
        self._locks = WorkspaceLocks(settings.workspace)
        self._logs = JobLogs(settings.job_logs)
        self._saver = Saver()
        self._engine: Renderer | None = None
        self._room = RoomWatch(self._jobs, self._queue)
        self._recoveries, self._guest_polls = Throttle(RECOVERY_SECONDS), Throttle(GUEST_POLL_SECONDS)
        self._is_deterministic = False
        """Whether the engine is in deterministic mode."""
        self._is_warm = False
        self._loaded: str | None = None
        self._encoded_ahead: set[str] = set()

    def run(self) -> Ending:
        """Work until the queue is empty and no app is open. Returns at once if another worker has its slot.

        Raises StorageError when the database cannot be used.
        """
        lock = self._locks.worker(self._settings.slot)
        try:
            lock.acquire()
        except Timeout:
            logger.info("Another worker holds the queue of %s.", self._settings.workspace)
            return Ending.NOTHING_TO_DO
        try:
            with Heartbeat(self._queue) as heart:
                self._recover(recover)
                if not _has_device(self._settings):
                    logger.error("%s", missing_device(self._settings))
                    return Ending.NO_DEVICE
                return self._work(heart)
        except (KeyboardInterrupt, SystemExit):
            self._stopping.set()
            self._put_back()
            raise
        finally:
            self._saver.close()
            if self._engine is not None:
                self._engine.close()
            lock.release()

    def _work(self, heart: Heartbeat) -> Ending:
        backups = Backups(self._settings.database)
        while not self._stopping.is_set():
            backups.tick()
            if nothing_is_saved := self._saver.is_idle():  # else it still beats for the job that is being saved
                heart.set_job(None)
            if not self._settings.slot and self._recoveries.is_due():
                retry_on_busy(partial(self._recover, recover_unwatched), self._stopping)
            claim = partial(self._queue.claim, self._loaded, deterministic=self._is_deterministic)
            if not self._is_lent() and (job := retry_on_busy(claim, self._stopping)):
                crash_point(CrashPoint.CLAIMED)
                heart.set_job(job.id)
                if not self._run_job(job, heart):
                    return Ending.FRESH_PROCESS
            elif nothing_is_saved and not self._is_needed():
                return Ending.NOTHING_TO_DO
            else:
                self._idle()
                self._stopping.wait(POLL_SECONDS)
        return Ending.NOTHING_TO_DO

    def _recover(self, settle: Settle) -> None:
        settle(self._settings, self._jobs, self._queue, self._logs, self._locks)

    def _run_job(self, job: Job, heart: Heartbeat) -> bool:
        """Render the clip and begin to save it. Returns whether this process may go on to the next job.

        A job that a worker has died with runs alone this time, so that no other job is blamed if it happens again.
        """
        is_suspect = job.attempts > 1
        if is_suspect:
            self._saver.wait()
        run = JobRun(job, self._settings, self._queue, heart.on_activity, self._stopping)
        with ExitStack() as device:
            rendered = run.make(partial(self._prepared_engine, device))
        self._set_loaded(job.request.model)
        if rendered is not None:
            self._saver.start(partial(self._save, run, rendered))
        else:
            self._room.note(found_none=run.found_no_room, saved=False)
        if is_suspect:
            self._saver.wait()
        return not run.spoils_process

    def _is_lent(self) -> bool:
        """Whether the device of a further slot has a share of another worker's clip."""
        return self._settings.slot > 0 and is_held(self._locks.device(self._settings.slot))

    def _is_needed(self) -> bool:
        """Whether to stay though no job could be claimed just now: the queue may have been resumed since.

        A further worker ends where there are too few jobs for it, so that a single clip can have its device too.
        """
        if self._settings.slot and self._jobs.unfinished() <= self._settings.slot:
            return False
        return self._room.waits() or self._jobs.has_work() or self._locks.any_app_is_alive()

    def _save(self, run: JobRun, rendered: Rendered) -> None:
        run.save(rendered)
        self._room.note(found_none=run.found_no_room, saved=True)

    # The engine

    def _prepared_engine(self, device: ExitStack, run: JobRun) -> Renderer:
        """The engine, ready for the job, once the device is held by the stack. Raises Cancelled."""
        wait_for_device(device, self._locks, self._settings.slot, run.observer)
        started = time.monotonic()
        engine = self._ready_engine(deterministic=run.job.deterministic)
        run.starting_seconds = time.monotonic() - started
        if run.job.id not in self._encoded_ahead:
            run.observer.progress(Progress(Stage.ENCODING_TEXT))
            self._encode_texts(engine, run.job, run.observer)
            crash_point(CrashPoint.TEXTS_ENCODED)
        return engine

    def _encode_texts(self, engine: Renderer, job: Job, observer: Observer) -> None:
        """Encode the prompts of this job and of those that wait behind it with one load of the text encoder."""
        try:
            behind = [other for other in self._jobs.waiting(TEXTS_AHEAD) if _are_alike(job, other)]
            self._encoded_ahead = {job.id, *(other.id for other in behind)}
            engine.encode_texts([job.request, *(other.request for other in behind)], job.plan, observer)
        except (OutOfMemory, Cancelled):
            raise
        except StudioError:  # each job encodes for itself what is missing, and fails for itself if that is its fault
            logger.warning("The texts of waiting jobs could not be encoded ahead.", exc_info=True)

    def _ready_engine(self, *, deterministic: bool = False) -> Renderer:
        if self._engine is None or self._is_deterministic is not deterministic:
            is_first = self._engine is None
            if self._engine is not None:
                self._engine.close()
                self._loaded = None
            self._engine, self._is_deterministic = self._make_engine(self._settings, deterministic), deterministic
            if is_first:
                self._note(partial(self._queue.set_ready, os.getpid(), time.monotonic() - self._launched_at))
        return self._engine

    def _set_loaded(self, model_id: str) -> None:
        if self._loaded != model_id:
            self._loaded = model_id
            self._note(partial(self._queue.set_loaded, os.getpid(), model_id))

    def _note(self, write: Callable[[], None]) -> None:
        """Write what estimates learn from, which no clip waits for."""
        try:
            write()
        except StorageError:
            logger.warning("The state of the worker could not be written.", exc_info=True)

    def _idle(self) -> None:
        """Get ready for the next job, or free the device while something else needs it."""
        if self._is_lent() or not self._guest_polls.is_due():
            return
        if not any_is_held(self._locks.device_guests()):
            self._warm_up()
        elif self._engine is not None and self._loaded is not None:
            self._engine.close()
            self._loaded = None

    def _warm_up(self) -> None:
        """Import torch once while nobody waits for it. The first job reports what goes wrong."""
        if not self._is_warm:
            self._is_warm = True
            with suppress(ImportError, OSError, UserError):
                self._ready_engine()

    def _put_back(self) -> None:
        """On a request to stop: finish the clip that is being saved, and let the running job wait again."""
        self._saver.close()
        for job in self._jobs.active():
            if job.state is JobState.RUNNING and job.slot == self._settings.slot:
                self._queue.release(job.id)


def _are_alike(job: Job, other: Job) -> bool:
    """Whether one load of the text encoder does for both."""
    return other.request.model == job.request.model and other.deterministic is job.deterministic


def _has_device(settings: Settings) -> bool:
    """False if the settings name a GPU for this worker and there is none: a CPU would make its clips instead."""
    if not settings.device_numbers or settings.device == "cpu":
        return True
    try:
        from wan_pipeline.engine.device.placement import choose_device  # here: torch takes seconds

        return choose_device(settings.device).type != "cpu"
    except UserError:
        return False
    except (ImportError, OSError):  # the first job reports it
        return True


def _engine_here(settings: Settings, deterministic: bool) -> Renderer:
    from wan_pipeline.engine.engine import Engine  # here: torch takes seconds, and a fault in it is the job's

    return Engine(settings, deterministic=deterministic)
