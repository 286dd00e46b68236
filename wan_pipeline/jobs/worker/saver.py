"""The saving of one clip beside the making of the next."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor


class Saver:
    """Runs one piece of work at a time in a thread of its own; what it raises, the next `wait` or `start` raises."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="saver")
        self._work: Future[None] | None = None

    def start(self, work: Callable[[], None]) -> None:
        """Begin, as soon as the piece before has come to its end: at most one clip waits in memory."""
        self.wait()
        self._work = self._pool.submit(work)

    def wait(self) -> None:
        """Until nothing is being saved."""
        work, self._work = self._work, None
        if work is not None:
            work.result()

    def is_idle(self) -> bool:
        """Whether nothing is being saved. Raises what the last piece of work has raised."""
        if self._work is not None and self._work.done():
            self.wait()
        return self._work is None

    def close(self) -> None:
        """Wait, without raising anything: who closes has a reason of his own."""
        self._pool.shutdown()
