"""Retries for a database that is busy, or whose disk is full, for a moment: that must not cost an hour's clip."""

from __future__ import annotations

import logging
from collections.abc import Callable
from threading import Event
from typing import TypeVar

from wan_pipeline.errors import DiskFullError, StorageError

TRIES = 5
PAUSE_SECONDS = 2.0
"""After each failed try. A try at a database that another program holds takes BUSY_SECONDS by itself."""

T = TypeVar("T")
logger = logging.getLogger(__name__)


def retry_on_busy(use: Callable[[], T], stopping: Event) -> T:
    """What `use` returns, tried up to TRIES times, and for as long as the disk is full.

    Raises StorageError when the database stays out of reach for another reason, or when `stopping` is set.
    """
    tries = 0
    while True:
        try:
            return use()
        except StorageError as error:
            tries += not isinstance(error, DiskFullError)
            if tries == TRIES or stopping.is_set():
                raise
            logger.warning("The database could not be used; trying again: %s", error)
            stopping.wait(PAUSE_SECONDS)
