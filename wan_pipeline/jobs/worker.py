"""The process that works the queue off, one job at a time, with the engine kept warm between jobs.

`python -m wan_pipeline.jobs.worker --workspace DIR`. One per workspace, by a lock of the operating system. It outlives
the app: it ends when the queue is empty and no app is open.
"""

from __future__ import annotations

import argparse
import logging
import signal
import time
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from types import FrameType

from filelock import Timeout

from wan_pipeline.clips.naming import clip_name
from wan_pipeline.engine.progress import Observer
from wan_pipeline.errors import Cancelled, StudioError
from wan_pipeline.jobs.job import Finished, Job, JobState
from wan_pipeline.jobs.locks import WorkspaceLocks
from wan_pipeline.jobs.observer import JobObserver
from wan_pipeline.jobs.render import Renderer, already_made, make_clip
from wan_pipeline.jobs.store import JobStore
from wan_pipeline.settings import Settings

POLL_SECONDS = 0.2

logger = logging.getLogger(__name__)


class Worker:
    """Works for one workspace. Holds the engine from the first job on."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._store = JobStore(settings.database)
        self._locks = WorkspaceLocks(settings.workspace)
        self._engine: Renderer | None = None
        self._is_warm = False

    def run(self) -> None:
        """Work until the queue is empty and no app is open. Returns at once if another worker is at it."""
        lock = self._locks.worker()
        try:
            lock.acquire()
        except Timeout:
            logger.info("Another worker holds the queue of %s.", self._settings.workspace)
            return
        try:
            self._recover()
            self._work()
        finally:
            if self._engine is not None:
                self._engine.close()
            lock.release()

    def _work(self) -> None:
        while True:
            if job := self._store.claim():
                self._run_job(job)
            elif not self._locks.any_app_is_alive():
                return
            else:
                self._warm_up()
                time.sleep(POLL_SECONDS)

    def _run_job(self, job: Job) -> None:
        logger.info("Job %s, attempt %d: %s", job.id, job.attempts, job.request.to_json())
        try:
            with JobObserver(self._store, job.id, self._preview(job)) as observer:
                finished = self._make(job, observer)
            self._store.finish(job.id, finished)
            logger.info("Job %s is done: %s", job.id, finished.clip.name)
        except Cancelled:
            self._store.mark_cancelled(job.id)
            logger.info("Job %s was cancelled.", job.id)
        except StudioError as error:
            self._store.fail(job.id, str(error))
            logger.warning("Job %s failed: %s", job.id, error)
        except Exception as error:  # the worker must outlive any fault of one job
            logger.exception("Job %s failed", job.id)
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            self._store.fail(job.id, f"Something unexpected went wrong ({reason}); details are in logs/worker.log.")
        except (KeyboardInterrupt, SystemExit):
            self._store.release(job.id)
            raise

    def _make(self, job: Job, observer: Observer) -> Finished:
        return make_clip(self._ready_engine(), job.request, observer, self._clip(job))

    def _clip(self, job: Job) -> Path:
        return self._settings.clips / clip_name(job.request, job.created_at, job.id)

    def _preview(self, job: Job) -> Path:
        return self._settings.previews / f"{job.id}.webp"

    def _ready_engine(self) -> Renderer:
        if self._engine is None:
            from wan_pipeline.engine.engine import Engine  # here: torch takes seconds, and a fault in it is the job's

            self._engine = Engine(self._settings)
        return self._engine

    def _warm_up(self) -> None:
        """Import torch once while nobody waits for it. A fault is left for the first job to report."""
        if not self._is_warm:
            self._is_warm = True
            with suppress(ImportError, OSError):
                self._ready_engine()

    def _recover(self) -> None:
        """Settle what a worker that died has left behind. A clip that lacked only its row gets it."""
        for job in self._store.active():
            if job.state is JobState.RUNNING:
                if finished := already_made(job.request, self._clip(job)):
                    self._store.finish(job.id, finished)
                self._remove_leftovers(job)
        for job in self._store.recover():
            logger.warning("Job %s was left running by a worker that died; now it is %s.", job.id, job.state)

    def _remove_leftovers(self, job: Job) -> None:
        preview, parts = self._preview(job), self._settings.clips.glob(f"*_{job.id[:8]}.*.part")
        for path in (*parts, preview, *preview.parent.glob(f"{preview.name}.*.part")):
            with suppress(PermissionError):  # on Windows, while the dead worker's ffmpeg or a page still has it
                path.unlink(missing_ok=True)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m wan_pipeline.jobs.worker", description="Work a queue off.")
    for field in fields(Settings):
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=Path, default=field.default)
    settings = Settings(**vars(parser.parse_args(arguments)))
    settings.make_folders()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    signal.signal(signal.SIGTERM, _leave)
    Worker(settings).run()


def _leave(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    main()
