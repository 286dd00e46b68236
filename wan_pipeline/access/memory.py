"""Give back the memory of large requests once they have ended."""

from __future__ import annotations

import ctypes
import gc
import logging
from asyncio import TimerHandle, get_running_loop

NOTABLE_BYTES = 16 * 2**20
"""What may come in before memory is given back."""
DELAY_SECONDS = 2.0
"""Until then; a collection stops the app for some tenths of a second, so a row of large requests shares one."""

logger = logging.getLogger(__name__)


class MemoryKeeper:
    """Counts the bytes of bodies and gives memory back when many have come. For one event loop.

    A refused body hangs on its exception, which refers to itself through the traceback until Python's collector runs
    over all generations, and an idle app gives it no cause to. What is freed then stays with the C library: in one
    measurement 24 bodies of 5 MB left 190 MB behind, and nothing after both.
    """

    def __init__(self, delay_seconds: float = DELAY_SECONDS) -> None:
        self._delay_seconds = delay_seconds
        self._bytes = 0
        self._timer: TimerHandle | None = None

    def count(self, received: int) -> None:
        """Add what a request sent, when it has ended."""
        self._bytes += received
        if self._bytes >= NOTABLE_BYTES and self._timer is None:
            self._timer = get_running_loop().call_later(self._delay_seconds, self._give_back)

    def _give_back(self) -> None:
        self._bytes, self._timer = 0, None
        give_back_memory()


def give_back_memory() -> None:
    """Collect all garbage, and hand free memory to the system where the C library is glibc (others do it)."""
    collected = gc.collect()
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    except (OSError, AttributeError):  # Windows, macOS, musl
        logger.debug("No malloc_trim here.")
    logger.debug("Collected %d objects after large requests.", collected)
