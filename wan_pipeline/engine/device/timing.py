"""How long something takes on the accelerator."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

import torch


def seconds_of(action: Callable[[], object], calls: int = 1) -> float:
    """Median of three runs, after one to warm up; of each of `calls` that are queued in a row, as a model queues them.

    More than one hides what a call costs the CPU while the device is busy.
    """
    taken = []
    for _ in range(4):
        torch.accelerator.synchronize()
        started = time.perf_counter()
        for _ in range(calls):
            action()
        torch.accelerator.synchronize()
        taken.append((time.perf_counter() - started) / calls)
    return max(median(taken[1:]), 1e-6)
