"""One job in the worker: rendered, then saved, perhaps in another thread. However it ends, its row says so."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from threading import Event
from typing import TYPE_CHECKING

from wan_pipeline.clips.copies.output import copy_clip
from wan_pipeline.clips.files import name_in
from wan_pipeline.clips.naming import clip_bytes
from wan_pipeline.errors import Cancelled, DiskFullError, NodeLost, OutOfMemory, StudioError
from wan_pipeline.jobs.disk_space import NoRoom
from wan_pipeline.jobs.job import STARTING, Finished, Job
from wan_pipeline.jobs.log import JobLogs, native_crashes_logged
from wan_pipeline.jobs.table.worker_queue import WorkerQueue
from wan_pipeline.jobs.worker.files import JobFiles
from wan_pipeline.jobs.worker.observer import JobObserver
from wan_pipeline.jobs.worker.render import Label, Renderer, save_clip
from wan_pipeline.jobs.worker.retry import retry_on_busy
from wan_pipeline.settings import Settings
from wan_pipeline.storage.crash import CrashPoint, crash_point
from wan_pipeline.storage.files import check_room

if TYPE_CHECKING:
    from wan_pipeline.engine.rendered import Rendered

MAX_STEPS_DOWN = 2
"""Smaller memory plans that a job may be given before it fails."""
NOTICEABLE_SECONDS = 0.1
"""An engine that was there sooner was ready already."""
STARTED_AGAIN = "The clip was made again from its first step, because a clip with a step cache keeps no checkpoint."

logger = logging.getLogger(__name__)


class JobRun:
    """A job from claim to end. `make` belongs to the engine's thread; `save` may run in another."""

    def __init__(
        self, job: Job, settings: Settings, queue: WorkerQueue, on_activity: Callable[[], None], stopping: Event
    ) -> None:
        """When `stopping` is set, a row that cannot be written is left to the next worker."""
        self.job = job
        self.files = JobFiles(settings, job)
        self.spoils_process = False
        """Whether a fresh process should go on: this one's memory or device may be in disorder."""
        self.found_no_room = False
        """Whether it went back into the queue because a disk is full."""
        self.starting_seconds = 0.0
        """What the engine took to start for this job."""
        self._settings = settings
        self._queue = queue
        self._stopping = stopping
        self._starts_again = False
        """Whether denoising steps were lost, because a clip with a step cache keeps no checkpoint."""
        self._logs = JobLogs(settings.job_logs)
        self.observer = JobObserver(queue, job.id, self.files.preview, on_activity)

    def make(self, renderer: Callable[[JobRun], Renderer]) -> Rendered | None:
        """Render the frames. None if the job ended without any. An error in `renderer` counts as the job's."""
        job = self.job
        with self._logs.attached(job.id) as log, native_crashes_logged(log), self._ending_job():
            logger.info("Job %s, attempt %d: %s", job.id, job.attempts, job.request.to_json())
            self.observer.start()
            if job.request.step_cache:
                self._starts_again = retry_on_busy(partial(self._queue.has_lost_steps, job.id), self._stopping)
            check_room(self._settings.clips, clip_bytes(job.request))
            rendered = renderer(self).render(job.request, self.observer, self.files.checkpoint, job.plan)
            self.observer.frames_are_made()
            crash_point(CrashPoint.RENDERED)
            return rendered
        return None

    def save(self, rendered: Rendered) -> None:
        """Write the clip's files, then its row. Raises StorageError only if the database stays out of reach."""
        with self._logs.attached(self.job.id):
            if finished := self._save_files(rendered):
                retry_on_busy(partial(self._queue.finish, self.job.id, finished), self._stopping)
                crash_point(CrashPoint.FINISHED)
                logger.info("Job %s is done: %s", self.job.id, finished.clip.name)
        if finished:
            self._logs.remove(self.job.id)

    def _save_files(self, rendered: Rendered) -> Finished | None:
        with self._ending_job():
            label = Label(self.job.id, self.job.project, self.job.made_by, self.job.attempts)
            finished = save_clip(self.job.request, rendered, self.observer, self.files.clip, label)
            self._clean_up()
            problems = copy_clip(finished.clip, name_in(self._settings.clips, finished.clip), self.job.output)
            has_waited = self.starting_seconds >= NOTICEABLE_SECONDS
            starting = {STARTING: self.starting_seconds} if has_waited else {}
            again = (STARTED_AGAIN,) if self._starts_again else ()
            warnings = (*finished.warnings, *problems, *again)
            return replace(finished, seconds={**finished.seconds, **starting}, warnings=warnings)
        return None

    @contextmanager
    def _ending_job(self) -> Iterator[None]:
        """Turn whatever goes wrong within into the end of this job, and of no other."""
        job_id = self.job.id
        try:
            yield
        except Cancelled:
            self._stop()
        except OutOfMemory as error:
            self.spoils_process = True
            self._lower_plan(error)
        except DiskFullError as error:
            self._wait_for_room(error)
        except NodeLost as error:
            self.spoils_process = True
            self._lose(error)
        except StudioError as error:
            self._end(partial(self._queue.fail, job_id, str(error)))
            logger.warning("Job %s failed: %s", job_id, error)
        except Exception as error:  # the worker must outlive any fault of one job
            self.spoils_process = True
            logger.exception("Job %s failed", job_id)
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            sentence = f"Something unexpected went wrong ({reason}); details are in {self._logs.name(job_id)}."
            self._end(partial(self._queue.fail, job_id, sentence))
        except BaseException:  # the worker was asked to stop, and puts back what it has not finished
            self.observer.close()
            raise

    def _stop(self) -> None:
        """End a job that was cancelled; put one back that stops for a pause. Its checkpoint stays."""
        job_id = self.job.id
        if self.observer.is_job_cancelled:
            self._end(partial(self._queue.mark_cancelled, job_id))
            logger.info("Job %s was cancelled.", job_id)
        elif self._put_back(partial(self._queue.release, job_id)):
            logger.info("Job %s waits, because the queue was paused.", job_id)

    def _wait_for_room(self, error: DiskFullError) -> None:
        """Put the job back. Its checkpoint stays, so that little is computed again."""
        no_room = NoRoom.of(error, self._settings.clips, clip_bytes(self.job.request))
        self.found_no_room = self._put_back(partial(self._queue.wait_for_room, self.job.id, no_room))
        if self.found_no_room:
            logger.warning("Job %s waits until there is room: %s", self.job.id, error)

    def _lower_plan(self, error: OutOfMemory) -> None:
        job, plan = self.job, error.smaller_plan
        if plan is None or job.plan_steps_down >= MAX_STEPS_DOWN:
            self._end(partial(self._queue.fail, job.id, str(error)))
            logger.warning("Job %s failed: %s", job.id, error)
            return
        if self._put_back(partial(self._queue.lower_plan, job.id, plan, str(error))):
            logger.warning("Job %s goes on in a fresh process with the memory plan '%s': %s", job.id, plan, error)

    def _lose(self, error: NodeLost) -> None:
        """Leave the job to another machine, as one whose worker died. Its checkpoint stays."""
        self.observer.discard()
        settle = partial(self._queue.recover, (self._settings.slot,), self.job.id, str(error))
        states = [job.state for job in retry_on_busy(settle, self._stopping)]
        self.observer.close()
        logger.warning("Job %s is %s now: %s", self.job.id, ", ".join(states), error)

    def _put_back(self, write: Callable[[], bool]) -> bool:
        """Whether the job went back into the queue. It does not if it was to be cancelled: then it has ended."""
        self.observer.discard()
        went_back = retry_on_busy(write, self._stopping)
        self.observer.close()
        if not went_back:
            logger.info("Job %s was cancelled.", self.job.id)
            self._clean_up()
        return went_back

    def _end(self, write: Callable[[], None]) -> None:
        """Write the end at once: the person who cancelled sees it. A worker that dies here leaves files, no job."""
        self.observer.discard()
        retry_on_busy(write, self._stopping)
        self._clean_up()

    def _clean_up(self) -> None:
        """Remove what is of no use once the job has ended."""
        self.observer.close()
        self.files.checkpoint.unlink(missing_ok=True)
