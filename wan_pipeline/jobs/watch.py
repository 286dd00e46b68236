"""When a worker is to be started again, and when a living one counts as hung."""

from __future__ import annotations

import signal
import time

from wan_pipeline.jobs.worker.ending import Ending

MAX_FAILED_STARTS = 3
"""A worker that ends by itself this often in a row before it claims a job would do so again."""
MAX_PAUSE_SECONDS = 60.0


class RestartBackoff:
    """Counts workers that ended one after another before they claimed a job, and spaces the next starts."""

    FROM_OUTSIDE = (
        Ending.NO_DATABASE,  # not the worker's fault: its disk may have room again
        *(-getattr(signal, name, 0) for name in ("SIGTERM", "SIGINT", "SIGKILL", "SIGHUP")),
        128 + signal.SIGTERM,
        0xC000013A,  # Ctrl+C on Windows
    )
    """Exit statuses that say nothing about the next worker. (Windows does not say who ended a process.)"""

    def __init__(self) -> None:
        self.failed_starts = 0
        self._count = 0
        self._not_before = 0.0

    def add(self, code: int) -> None:
        """A worker ended with this exit status before it claimed a job."""
        self._count += 1
        self.failed_starts = 0 if code in self.FROM_OUTSIDE else self.failed_starts + 1
        if self._count > MAX_FAILED_STARTS:
            pause = min(2.0 ** (self._count - MAX_FAILED_STARTS - 1), MAX_PAUSE_SECONDS)
            self._not_before = time.monotonic() + pause

    def may_start(self) -> bool:
        """At once after the first few ends; then after a pause that doubles up to MAX_PAUSE_SECONDS."""
        return time.monotonic() >= self._not_before


class StallDetector:
    """Measures for how long the count of heartbeats has not changed.

    Neither the wall clock nor a sleep of the computer counts: a gap between two polls is cut to `longest_gap`.
    """

    def __init__(self, limit_seconds: float, longest_gap: float) -> None:
        self._limit = limit_seconds
        self._longest_gap = longest_gap
        self._beats = -1
        self._seconds = 0.0
        self._polled_at = time.monotonic()

    def reset(self) -> None:
        self._seconds = 0.0

    def is_stalled(self, beats: int) -> bool:
        """Whether the count has been `beats` for longer than the limit."""
        now = time.monotonic()
        gap = min(now - self._polled_at, self._longest_gap)
        self._seconds = self._seconds + gap if beats == self._beats else 0.0
        self._beats, self._polled_at = beats, now
        return self._seconds > self._limit
