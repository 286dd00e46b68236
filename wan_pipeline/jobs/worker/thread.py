"""A worker in a thread of this process, for a place where the device belongs to the app's own process."""

from __future__ import annotations

import logging
import os
from threading import Event, Thread

from wan_pipeline.errors import StorageError
from wan_pipeline.jobs.worker.ending import Ending
from wan_pipeline.jobs.worker.worker import MakeEngine, Worker
from wan_pipeline.settings import Settings

logger = logging.getLogger(__name__)


class WorkerThread:
    """As much of `subprocess.Popen` as the supervisor needs.

    It ends with the app: a thread outlives no process, and cannot be killed. The next app goes on with the clip that
    was being made.
    """

    def __init__(self, settings: Settings, make_engine: MakeEngine) -> None:
        self._settings = settings
        self._make_engine = make_engine
        self._stopping = Event()
        self._ending: Ending | None = None
        self._thread = Thread(target=self._run, name="worker", daemon=True)
        self._thread.start()

    @property
    def pid(self) -> int:
        return os.getpid()

    def poll(self) -> int | None:
        """How it ended; None while it works."""
        return None if self._thread.is_alive() else self._ending

    def terminate(self) -> None:
        """Ask it to end after the clip that it is making."""
        self._stopping.set()

    def kill(self) -> None:
        self.terminate()

    def wait(self) -> int:
        self._thread.join()
        return Ending.FRESH_PROCESS if self._ending is None else self._ending

    def _run(self) -> None:
        self._ending = Ending.FRESH_PROCESS  # for errors not handled below
        try:
            self._settings.make_folders()
            self._ending = Worker(self._settings, self._make_engine, self._stopping).run()
        except (StorageError, OSError):
            logger.exception("The worker cannot go on.")
            self._ending = Ending.NO_DATABASE
