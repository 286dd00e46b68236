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
        """Delete for good what is older than a visit. Raises StorageError."""
        studio, before = self._studio, now - VISIT
        clips = studio.gallery.delete_of(VISITOR, before)
        jobs = studio.queue.forget(VISITOR, before)
        for name in {*jobs, *(clip.id for clip in clips)}:
            self._logs.remove(name)
            _remove([studio.settings.checkpoints / f"{name}.safetensors", studio.settings.previews / f"{name}.webp"])
        _remove(_older(studio.settings.cache / "share", before))  # made again when they are asked for
        used = self._used_inputs()
        _remove(path for path in _older(studio.settings.inputs, before) if path.stem not in used)
        keys = studio.keys.remove_expired(now)
        if clips or jobs or keys:
            logger.info("Cleaned away: clips %d, jobs %d, keys %d.", len(clips), len(jobs), keys)

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
        """Names of the input files of all clips and jobs that are left."""
        return {name for request in self._studio.jobs.stored_requests() for name in INPUT_NAME.findall(request)}


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
        path.unlink(missing_ok=True)
