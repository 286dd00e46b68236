"""How long something takes on the accelerator."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

import torch


def seconds_of(action: Callable[[], object]) -> float:
    """Median of three runs, after one to warm up."""
    taken = []
    for _ in range(4):
        torch.accelerator.synchronize()
        started = time.perf_counter()
        action()
        torch.accelerator.synchronize()
        taken.append(time.perf_counter() - started)
    return max(median(taken[1:]), 1e-6)
