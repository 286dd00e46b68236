"""A worker's own folder on a node. `ray.kill` lets no worker remove its own: the next one does."""

from __future__ import annotations

import atexit
import shutil
import uuid
from pathlib import Path

from filelock import FileLock

from wan_pipeline.storage.files import storage_error
from wan_pipeline.storage.locks import LOCK_SECONDS, remove_if_free


class RunFolder:
    """A new folder, which is the worker's as long as it holds the lock beside it."""

    def __init__(self, runs: Path) -> None:
        """Also removes what dead workers left in `runs`. Raises StorageError."""
        self.path = runs / uuid.uuid4().hex
        self._lock = FileLock(_lock_of(self.path), timeout=LOCK_SECONDS, thread_local=False)
        try:
            runs.mkdir(parents=True, exist_ok=True)
            _remove_dead(runs)
            self._lock.acquire()  # first: without it another worker would remove the folder
            self.path.mkdir()
        except OSError as error:
            raise storage_error(runs, error) from error
        atexit.register(shutil.rmtree, self.path, ignore_errors=True)


def _remove_dead(runs: Path) -> None:
    for run in {path.with_suffix("") for path in runs.iterdir()}:
        if remove_if_free(_lock_of(run)):
            shutil.rmtree(run, ignore_errors=True)


def _lock_of(run: Path) -> Path:
    return run.with_suffix(".lock")
