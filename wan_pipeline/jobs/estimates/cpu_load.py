"""CPU load of other programs, so that an estimate can say that the machine is busy."""

from __future__ import annotations

import time
from collections.abc import Callable

import psutil

BUSY_SHARE = 0.3
"""Share of all cores from which on clips take noticeably longer."""
SAMPLE_SECONDS = 1.0
"""The shortest time to measure over; before it has passed, the last result is returned again."""
STALE_SECONDS = 30.0
"""A longer one says nothing about the present, and is not used."""
Sample = tuple[float, float, float]
"""Seconds on a clock, of processor time that the machine was at work, and that our own processes were."""


class CpuLoad:
    """Measures between one call and the next, so it never waits. The first call has no result."""

    def __init__(self, sample: Callable[[int | None], Sample] | None = None, cores: int | None = None) -> None:
        """`sample` reads the counters; its argument is the worker's process."""
        self._sample = sample or take_sample
        self._cores = cores or psutil.cpu_count() or 1
        self._last: Sample | None = None
        self._worker_pid: int | None = None
        self._share = 0.0

    def is_busy(self, worker_pid: int | None = None) -> bool:
        """Whether other programs than this app and its worker have lately taken much of the cores."""
        now, last = self._sample(worker_pid), self._last
        if last is None or worker_pid != self._worker_pid or now[0] - last[0] > STALE_SECONDS:
            self._last, self._worker_pid, self._share = now, worker_pid, 0.0
        elif now[0] - last[0] >= SAMPLE_SECONDS:
            seconds, total, own = (new - old for new, old in zip(now, last, strict=True))
            self._share = (total - max(own, 0.0)) / (seconds * self._cores)
            self._last = now
        return self._share >= BUSY_SHARE


def take_sample(worker_pid: int | None) -> Sample:
    """Works where psutil does: on Linux, macOS and Windows."""
    times = psutil.cpu_times()
    own = sum(_seconds_of(pid) for pid in (psutil.Process().pid, worker_pid) if pid is not None)
    return time.monotonic(), sum(times) - times.idle - getattr(times, "iowait", 0.0) - _counted_twice(times), own


def _counted_twice(times: object) -> float:
    """Linux counts the time of guests of virtual machines as time of users as well."""
    return float(getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0))


def _seconds_of(pid: int) -> float:
    try:
        used = psutil.Process(pid).cpu_times()
    except psutil.Error:  # it has ended
        return 0.0
    return float(used.user + used.system)
