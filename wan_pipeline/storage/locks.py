"""Who is alive in a workspace, told by locks of the operating system: they end with their process, however it ends."""

from __future__ import annotations

import uuid
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

LOCK_SECONDS = 3.0
"""How long to wait for a lock of one's own: who only looks whether it is held holds it for a moment."""
GIVE_WAY_SECONDS = 600.0
"""How long to wait for the device: the verifier gives way within a step, but not while it loads a model."""


class WorkspaceLocks:
    """The locks of one workspace: one for its worker, one for its first app, and one for each open app."""

    def __init__(self, workspace: Path) -> None:
        self._folder = workspace / "locks"
        self._folder.mkdir(parents=True, exist_ok=True)

    def worker(self) -> FileLock:
        """Held by the one process that works the queue off."""
        return FileLock(self._folder / "worker.lock", timeout=LOCK_SECONDS)

    def main_app(self) -> FileLock:
        """Held by the one app that works with the workspace; the others look on. Any thread may take and give it."""
        return FileLock(self._folder / "main.lock", timeout=LOCK_SECONDS, thread_local=False)

    def app(self) -> FileLock:
        """To be held by an app as long as its page is open to visitors."""
        return FileLock(self._folder / f"app-{uuid.uuid4().hex}.lock", timeout=LOCK_SECONDS)

    def verifier(self) -> FileLock:
        """Held by the one process that makes a clip again to verify it."""
        return FileLock(self._folder / "verifier.lock", timeout=LOCK_SECONDS)

    def transfer(self, model_id: str) -> FileLock:
        """Held by the process that downloads or verifies this model."""
        return FileLock(self._folder / f"model-{model_id}.lock", timeout=LOCK_SECONDS)

    def device(self) -> FileLock:
        """Held while a clip is made, by the worker or by the verifier, so that the two never share the memory."""
        return FileLock(self._folder / "device.lock", timeout=GIVE_WAY_SECONDS)

    def worker_is_alive(self) -> bool:
        return is_held(self.worker())

    def any_app_is_alive(self) -> bool:
        """Whether an app holds its lock. Files that dead apps left are removed."""
        alive = False
        for path in self._folder.glob("app-*.lock"):
            if is_held(FileLock(path)):
                alive = True
            else:
                with suppress(PermissionError):  # on Windows, when another looks at the same time
                    path.unlink(missing_ok=True)
        return alive


def is_held(lock: FileLock) -> bool:
    """Whether somebody else holds the lock now."""
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    lock.release()
    return False
