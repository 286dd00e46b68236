"""A clip may have taken an hour: that the database is busy, or its disk full, for a moment must not cost it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from wan_pipeline.errors import StorageError

TRIES = 5
PAUSE_SECONDS = 2.0
"""After each try that failed; the database itself waits longer before it gives up one."""

T = TypeVar("T")
logger = logging.getLogger(__name__)


def retry_on_busy(use: Callable[[], T]) -> T:
    """What `use` gives, tried up to TRIES times. Raises StorageError when the database stays out of reach."""
    for _ in range(TRIES - 1):
        try:
            return use()
        except StorageError:
            logger.warning("The database could not be used; it is tried again.", exc_info=True)
            time.sleep(PAUSE_SECONDS)
    return use()
