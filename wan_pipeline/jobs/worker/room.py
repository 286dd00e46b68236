"""Whether the queue waits until a disk has room again, and lets it go on when it has."""

from __future__ import annotations

import logging

from wan_pipeline.jobs.disk_space import DiskBackoff
from wan_pipeline.jobs.table.reader import JobReader
from wan_pipeline.jobs.table.worker_queue import WorkerQueue
from wan_pipeline.progress import Throttle

DISK_POLL_SECONDS = 2.0
"""Between two checks for space on a full disk, each of which writes a small file to it."""

logger = logging.getLogger(__name__)


class RoomWatch:
    """Watches over the disks for whoever claims jobs."""

    def __init__(self, jobs: JobReader, queue: WorkerQueue) -> None:
        self._jobs = jobs
        self._queue = queue
        self._backoff = DiskBackoff()
        self._polls = Throttle(DISK_POLL_SECONDS)

    def waits(self) -> bool:
        """Whether jobs wait until a disk has room again. When it has, or none waits any more, the queue goes on."""
        no_room = self._jobs.queue_state().no_room
        if no_room is None:
            return False
        has_jobs = self._jobs.unfinished() > 0
        if not has_jobs or (self._backoff.may_look() and self._polls.is_due() and no_room.is_over()):
            self._queue.end_wait_for_room()
            logger.info("There is disk space again, or nothing needs any; the queue goes on.")
        return has_jobs

    def note(self, *, found_none: bool, saved: bool) -> None:
        """How a clip ended: without room, or saved."""
        if found_none:
            self._backoff.clip_found_none()
        elif saved:
            self._backoff.clip_was_saved()
