"""Keeps a worker running while there is work, from a thread of the app. The worker outlives the app on purpose."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from threading import Event, Thread
from typing import Any, BinaryIO

from wan_pipeline.errors import StorageError
from wan_pipeline.jobs.locks import WorkspaceLocks
from wan_pipeline.jobs.store import JobStore
from wan_pipeline.settings import REPOSITORY, Settings

LOOK_SECONDS = 1.0
MAX_IDLE_DEATHS = 3
"""A worker that dies this often in a row without taking up a job will not live the next time either."""
MAX_LOG_BYTES = 4 * 2**20

logger = logging.getLogger(__name__)


class Supervisor:
    """Starts a worker process when jobs wait and none lives; starts another when it dies.

    What becomes of the job that a dead worker left is decided by the next worker, which alone holds the lock.
    """

    def __init__(self, settings: Settings, store: JobStore, locks: WorkspaceLocks) -> None:
        self._settings = settings
        self._store = store
        self._locks = locks
        self._app_lock = locks.app()
        self._process: subprocess.Popen[bytes] | None = None
        self._starts_at_start = 0
        self._idle_deaths = 0
        self._wake = Event()
        self._closing = False
        self._thread = Thread(target=self._run, name="supervisor", daemon=True)

    def start(self) -> None:
        """Tell workers that an app is open, start one to be warm for the first job, and keep watch."""
        self._app_lock.acquire()
        self._start_worker()
        self._thread.start()

    def wake(self) -> None:
        """Look now: there is a new job."""
        self._wake.set()

    def close(self) -> None:
        """Stop watching. A worker goes on until the queue is empty."""
        self._closing = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()
        self._app_lock.release()

    def _run(self) -> None:
        while not self._closing:
            try:
                self._look()
            except (StorageError, OSError):
                logger.exception("The supervisor could not look after the queue; it tries again.")
            self._wake.wait(LOOK_SECONDS)
            self._wake.clear()

    def _look(self) -> None:
        if self._process is not None:
            code = self._process.poll()
            if code is None:
                return
            self._process = None
            self._note_end(code)
        if self._store.active() and not self._locks.worker_is_alive():
            self._start_worker()

    def _note_end(self, code: int) -> None:
        """Give up on the waiting jobs when worker after worker dies before it takes one up."""
        if code == 0 or self._store.starts() != self._starts_at_start:
            self._idle_deaths = 0
            return
        self._idle_deaths += 1
        logger.warning("The worker ended with exit status %d before it took up a job.", code)
        if self._idle_deaths >= MAX_IDLE_DEATHS:
            self._idle_deaths = 0
            log = self._log_path()
            self._store.fail_waiting(f"The worker process cannot start (exit status {code}); the reason is in {log}.")

    def _start_worker(self) -> None:
        self._starts_at_start = self._store.starts()
        with _open_log(self._log_path()) as log:
            self._process = subprocess.Popen(
                _command(self._settings),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=_environment(),
                **_apart(),
            )

    def _log_path(self) -> Path:
        return self._settings.logs / "worker.log"


def _command(settings: Settings) -> list[str]:
    """The command line that starts a worker with these settings."""
    folders = [f"--{field.name.replace('_', '-')}={getattr(settings, field.name)}" for field in fields(Settings)]
    return [sys.executable, "-m", "wan_pipeline.jobs.worker", *folders]


def _environment() -> dict[str, str]:
    """This package must be found wherever the app was started from."""
    paths = [str(REPOSITORY), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in paths if path), "PYTHONUTF8": "1"}


def _apart() -> dict[str, Any]:
    """Keeps Ctrl+C and the closing of the app's terminal away from the worker."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}
    return {"start_new_session": True}


def _open_log(path: Path) -> BinaryIO:
    if path.exists() and path.stat().st_size > MAX_LOG_BYTES:
        with suppress(PermissionError):  # on Windows, while another app's worker writes to it: then it grows on
            path.replace(path.with_suffix(".old.log"))
    return path.open("ab")
