"""Retries for a database that is busy, or whose disk is full, for a moment: that must not cost an hour's clip."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from wan_pipeline.errors import StorageError

TRIES = 5
PAUSE_SECONDS = 2.0
"""After each failed try. The database itself waits longer than this within one."""

T = TypeVar("T")
logger = logging.getLogger(__name__)


def retry_on_busy(use: Callable[[], T]) -> T:
    """What `use` returns, tried up to TRIES times. Raises StorageError when the database stays out of reach."""
    for _ in range(TRIES - 1):
        try:
            return use()
        except StorageError:
            logger.warning("The database could not be used; trying again.", exc_info=True)
            time.sleep(PAUSE_SECONDS)
    return use()
