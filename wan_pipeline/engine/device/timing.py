"""Measures on the accelerator: how long something takes, and what may not work there."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from statistics import median
from typing import TypeVar

import torch

T = TypeVar("T")

logger = logging.getLogger(__name__)


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


def measured_or(default: T, what: str, measure: Callable[[], T]) -> T:
    """What `measure` gives; `default`, with a line in the log, if `what` cannot compute here."""
    try:
        return measure()
    except Exception as error:  # noqa: BLE001 (triton's errors share no base, and its first launch runs a C compiler)
        logger.warning("%s is not used, because it cannot compute here: %s", what, first_line(error))
        return default


def first_line(error: Exception) -> str:
    """What an error says, in one line; its name if it says nothing."""
    return next(iter(str(error).splitlines()), type(error).__name__)
