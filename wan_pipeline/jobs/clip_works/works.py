"""The works of a workspace as the app sees and starts them."""

from __future__ import annotations

import logging
import subprocess
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from statistics import median
from threading import Lock

from wan_pipeline.clips.gallery import Gallery
from wan_pipeline.clips.sound.add import SoundOrder, add_sound, name_with_sound
from wan_pipeline.errors import UserError
from wan_pipeline.jobs.clip_works import rows
from wan_pipeline.jobs.clip_works.rows import Queued, StoredWork
from wan_pipeline.jobs.clip_works.work import ClipWork, WorkOrder
from wan_pipeline.jobs.job import NewJob
from wan_pipeline.jobs.launch import launch
from wan_pipeline.jobs.watch import MAX_FAILED_STARTS, RestartBackoff
from wan_pipeline.requests.post_processing import PostProcessing
from wan_pipeline.requests.request import GenerationRequest
from wan_pipeline.settings import Settings
from wan_pipeline.storage.database import Database
from wan_pipeline.storage.locks import WorkspaceLocks, is_held
from wan_pipeline.storage.main_app import CheckMainApp, main_app_only, unchecked
from wan_pipeline.wording import duration

MODULE = "wan_pipeline.jobs.clip_works.process"
POLL_SECONDS = 0.5
LEARN_FROM = 20
"""Newest works that the time of others is estimated by."""

logger = logging.getLogger(__name__)


def works_log(settings: Settings) -> Path:
    return settings.logs / "clip_work.log"


class ClipWorks:
    """Every method raises StorageError when the database cannot be used."""

    def __init__(
        self, database: Database, settings: Settings, gallery: Gallery, check_main_app: CheckMainApp = unchecked
    ) -> None:
        self._database, self._settings, self._gallery = database, settings, gallery
        self._check_main_app = check_main_app
        self._lock = WorkspaceLocks(settings.workspace).clip_work()
        self._child: subprocess.Popen[bytes] | None = None
        self._backoff = RestartBackoff()
        self._at_start: list[StoredWork] = []
        self._starting = Lock()

    @main_app_only
    def add_sound(self, clip: Path, order: SoundOrder) -> str:
        """Make a clip with a file's sound in this process, which takes a second, and return its id in the gallery.

        Raises UserError.
        """
        new = add_sound(clip, order, name_with_sound(clip, self._settings.clips))
        self._gallery.rescan()
        return self._gallery.at(new).id

    @main_app_only
    def start(self, clip_id: str, order: WorkOrder) -> None:
        """Work on a clip when clips and works before it are done. Raises UserError while it is being worked on."""
        with self._database.transaction() as connection:
            before = rows.latest(connection, clip_id)
            if before and not before.is_over:
                raise UserError("This clip is being worked on already; wait until that is done, or stop it.")
            rows.add(connection, clip_id, order)
        self.poll()

    @main_app_only
    def stop(self, clip_id: str) -> None:
        """Stop the works on a clip: at once if they wait, else after the step or the frame."""
        with self._database.transaction() as connection:
            rows.stop(connection, clip_id)

    @main_app_only
    def stop_all(self) -> None:
        with self._database.transaction() as connection:
            rows.stop(connection)

    def of(self, clip_id: str) -> ClipWork | None:
        """The newest work on a clip; None if there was none."""
        with self._database.connection() as connection:
            return rows.latest(connection, clip_id)

    def unfinished(self) -> list[ClipWork]:
        """In order of work."""
        return [stored.work for stored in self._unfinished()]

    def queued(self) -> Queued:
        """How much is to do, and the first of it."""
        with self._database.connection() as connection:
            return rows.queued(connection)

    # The process that works

    def poll(self) -> None:
        """Start the process if a work waits and none is alive. Raises OSError."""
        with self._starting:  # a handler of the page and the supervisor may call it at the same time
            if self._child is not None:
                if (code := self._child.poll()) is None:
                    return
                self._child = None
                self._handle_exit(code)
            if self.queued().to_do and self._backoff.may_start() and not is_held(self._lock):
                self._at_start = self._unfinished()
                self._child = launch(MODULE, self._settings, works_log(self._settings))

    def _handle_exit(self, code: int) -> None:
        """Fail what waits when process after process ends before it takes up a work; other deaths the works count."""
        if code == 0 or self._unfinished() != self._at_start:
            self._backoff = RestartBackoff()
            return
        logger.warning("The process that works on clips ended with exit status %d.", code)
        self._backoff.add(code)
        if self._backoff.failed_starts >= MAX_FAILED_STARTS:
            self._backoff = RestartBackoff()
            log = works_log(self._settings)
            with self._database.transaction() as connection:
                rows.fail_unfinished(
                    connection, f"The process for it cannot start (exit status {code}); the reason is in {log}."
                )

    def _unfinished(self) -> list[StoredWork]:
        with self._database.connection() as connection:
            return rows.unfinished(connection)

    def run_all(self) -> Iterator[ClipWork]:
        """Have all works that wait done, and yield each when it is over; for a program without a supervisor.

        A process that was started for it ends with the iteration.
        """
        waiting = [stored.number for stored in self._unfinished()]
        try:
            while waiting:
                self.poll()
                self._wait()
                with self._database.connection() as connection:
                    works = {number: rows.of_number(connection, number) for number in waiting}
                waiting = [number for number, work in works.items() if not work.is_over]
                yield from (work for work in works.values() if work.is_over)
        finally:
            if waiting and self._child is not None:
                self._child.terminate()
                self._child.wait()
                with self._database.transaction() as connection:
                    rows.give_back(connection)

    def _wait(self) -> None:
        """Until it is time to look again, or the process has ended."""
        if self._child is None:  # another app's process works, or a start has failed
            time.sleep(POLL_SECONDS)
            return
        with suppress(subprocess.TimeoutExpired):
            self._child.wait(POLL_SECONDS)

    # How long

    def told(self, jobs: Iterable[NewJob]) -> str:
        """What follows once these jobs are done, and how long it takes: the rest of a sentence; empty for nothing."""
        wanted = [(job.request, job.post_processing) for job in jobs if job.post_processing]
        if not wanted:
            return ""
        with self._database.connection() as connection:
            done = rows.done(connection, LEARN_FROM)
        what = ", or ".join(dict.fromkeys(str(frames) for _, frames in wanted))
        seconds = [_seconds(request, frames, done) for request, frames in wanted]
        known = [each for each in seconds if each is not None]
        time = f"about {duration(sum(known))}" if len(known) == len(seconds) else "how long is not known yet"
        return f"; then {what}, {time}"


def _seconds(request: GenerationRequest, frames: PostProcessing, done: Sequence[ClipWork]) -> float | None:
    """Learned from works of the same kind; None before there was one."""
    rates = [work.seconds / work.pixels for work in done if work.order.frames == frames and work.pixels]
    return median(rates) * frames.pixels(request) if rates else None
