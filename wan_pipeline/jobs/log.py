"""A log file for each job, kept for jobs that failed or killed their worker."""

from __future__ import annotations

import faulthandler
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from threading import get_ident
from typing import TextIO

FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
EXCERPT_BYTES = 16_384

logger = logging.getLogger(__name__)


class _Handler(logging.FileHandler):
    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (its name in the library)
        """Ignore: a full disk ends this log, and must not fill the worker's log too."""


class JobLogs:
    """The job logs of a workspace, one file a job. Lines that cannot be written are dropped."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextmanager
    def attached(self, job_id: str) -> Iterator[TextIO | None]:
        """Context manager: this thread and the job's progress thread log into the job's file too. Yields the file."""
        thread = get_ident()
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            handler = _Handler(self._path(job_id), encoding="utf-8")
        except OSError:
            logger.warning("Job %s has no log of its own.", job_id, exc_info=True)
            yield None
            return
        handler.setFormatter(logging.Formatter(FORMAT))
        handler.addFilter(lambda record: record.thread == thread or job_id[:8] in str(record.threadName))
        logging.getLogger().addHandler(handler)
        try:
            yield handler.stream
        finally:
            logging.getLogger().removeHandler(handler)
            with suppress(OSError):  # what it could not write it cannot flush
                handler.close()

    def add(self, job_id: str, line: str) -> None:
        """Append a line from another process."""
        with suppress(OSError), self._path(job_id).open("a", encoding="utf-8") as file:
            file.write(f"{datetime.now():%Y-%m-%d %H:%M:%S} {line}\n")

    def excerpt(self, job_id: str, lines: int = 40) -> str:
        """The last lines of a job's log; empty if there is none."""
        try:
            with self._path(job_id).open("rb") as file:
                file.seek(max(0, file.seek(0, 2) - EXCERPT_BYTES))
                text = file.read().decode("utf-8", "replace")
        except OSError:
            return ""
        return "\n".join(text.splitlines()[-lines:])

    def name(self, job_id: str) -> str:
        """The file's path within the workspace, for messages."""
        return f"{self._folder.parent.name}/{self._folder.name}/{job_id}.log"

    def remove(self, job_id: str) -> None:
        with suppress(OSError):  # it is only a log
            self._path(job_id).unlink(missing_ok=True)

    def _path(self, job_id: str) -> Path:
        return self._folder / f"{job_id}.log"


@contextmanager
def native_crashes_logged(file: TextIO | None) -> Iterator[None]:
    """Context manager: a crash of native code writes its traceback to `file`, if `faulthandler` is enabled."""
    if file is None or not faulthandler.is_enabled():
        yield
        return
    faulthandler.enable(file)
    try:
        yield
    finally:
        faulthandler.enable(sys.__stderr__ or sys.stderr)
