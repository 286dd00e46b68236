"""What visitors of a Space leave goes after a day: clips, jobs, inputs, and keys."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Thread
from types import TracebackType

from wan_pipeline.access.keys import VISITOR
from wan_pipeline.access.visitors import VISIT
from wan_pipeline.errors import StorageError
from wan_pipeline.jobs.log import JobLogs
from wan_pipeline.studio import Studio

INTERVAL_SECONDS = 3600.0
INPUT_NAME = re.compile(r"[0-9a-f]{64}")

logger = logging.getLogger(__name__)


class Cleaner:
    """Cleans at once and then every hour, in a thread of its own. A context manager."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._logs = JobLogs(studio.settings.job_logs)
        self._closing = Event()
        self._thread = Thread(target=self._run, name="cleaner", daemon=True)

    def __enter__(self) -> Cleaner:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._closing.set()
        self._thread.join()

    def clean(self, now: datetime) -> None:
        """Delete for good what is older than a visit. Raises StorageError, when all else has been tried."""
        before, failures = now - VISIT, []
        for clean in (self._clean_clips, self._clean_jobs, self._clean_shared, self._clean_inputs):
            try:
                clean(before)
            except (StorageError, OSError) as error:
                failures.append(str(error))
        if keys := self._studio.keys.remove_expired(now):
            logger.info("Cleaned away: keys %d.", keys)
        if failures:
            raise StorageError(" ".join(failures))

    def _clean_clips(self, before: datetime) -> None:
        self._clean_files_of(clip.id for clip in self._studio.gallery.delete_of(VISITOR, before))

    def _clean_jobs(self, before: datetime) -> None:
        self._clean_files_of(self._studio.queue.forget(VISITOR, before))

    def _clean_files_of(self, job_ids: Iterable[str]) -> None:
        settings = self._studio.settings
        for job_id in job_ids:
            self._logs.remove(job_id)
            _remove([settings.checkpoints / f"{job_id}.safetensors", settings.previews / f"{job_id}.webp"])
            logger.info("Cleaned away: clip %s.", job_id)

    def _clean_shared(self, before: datetime) -> None:
        _remove(_older(self._studio.settings.cache / "share", before))  # made again when they are asked for

    def _clean_inputs(self, before: datetime) -> None:
        used = self._used_inputs()
        _remove(path for path in _older(self._studio.settings.inputs, before) if path.stem not in used)

    def _run(self) -> None:
        while True:
            try:
                if not self._studio.is_viewer:
                    self.clean(datetime.now(UTC))
            except (StorageError, OSError):
                logger.exception("What visitors left could not be cleaned away; it is tried again in an hour.")
            if self._closing.wait(INTERVAL_SECONDS):
                return

    def _used_inputs(self) -> set[str]:
        """Names of the input files of all clips, jobs, shots and projects that are left, read or not.

        Raises StorageError where one cannot be looked into: its pictures are not known.
        """
        studio = self._studio
        stored = (*studio.jobs.stored_requests(), *studio.shots.stored_settings(), *studio.projects.stored())
        return {name for text in stored for name in INPUT_NAME.findall(text)}


def _older(folder: Path, before: datetime) -> list[Path]:
    """The files of a folder that were written earlier."""
    found = []
    for path in folder.glob("*"):
        with suppress(FileNotFoundError):
            if path.is_file() and path.stat().st_mtime < before.timestamp():
                found.append(path)
    return found


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        with suppress(PermissionError):  # on Windows, while somebody watches it: the next round removes it
            path.unlink(missing_ok=True)
