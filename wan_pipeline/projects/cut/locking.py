"""The locks on the cuts of a workspace's projects."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from wan_pipeline.errors import ProjectError
from wan_pipeline.storage.files import storage_error
from wan_pipeline.storage.locks import WorkspaceLocks


class CutLocks:
    """One lock for each project. Safe to share between threads."""

    def __init__(self, workspace: Path) -> None:
        self._workspace = workspace
        self._locks: dict[str, FileLock] = {}

    @contextmanager
    def locked(self, project_id: str) -> Iterator[None]:
        """Context manager: no other thread and no other process changes the project's cuts, so that no edit is lost.

        A thread that has them may enter it again. Raises UserError where another one has them too long.
        """
        lock = self._locks.setdefault(project_id, WorkspaceLocks(self._workspace).cuts(project_id))
        try:
            lock.acquire()
        except Timeout as error:
            raise ProjectError(f"Another program is changing the cuts of '{project_id}'; wait, or end it.") from error
        except OSError as error:
            raise storage_error(self._workspace, error) from error
        try:
            yield
        finally:
            lock.release()
