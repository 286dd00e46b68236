"""Saves one clip in a thread while the next is being rendered."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor


class Saver:
    """Runs one save at a time. What a save raises, the next `start`, `wait` or `is_idle` raises."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="saver")
        self._save: Future[None] | None = None

    def start(self, save: Callable[[], None]) -> None:
        """Begin, once the save before has ended: at most one clip waits in memory."""
        self.wait()
        self._save = self._pool.submit(save)

    def wait(self) -> None:
        """Until nothing is being saved."""
        save, self._save = self._save, None
        if save is not None:
            save.result()

    def is_idle(self) -> bool:
        if self._save is not None and self._save.done():
            self.wait()
        return self._save is None

    def close(self) -> None:
        """Wait without raising: the worker is closing anyway."""
        self._pool.shutdown()
