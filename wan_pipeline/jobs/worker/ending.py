"""How a worker process ends."""

from __future__ import annotations

from enum import IntEnum


class Ending(IntEnum):
    """Why a worker ended: its exit status, for the supervisor."""

    NOTHING_TO_DO = 0
    NO_DEVICE = 69
    """The GPU that the settings name for it is not there. No job was claimed."""
    NO_DATABASE = 74
    """The database could not be used. Clips that were finished are on the disk; the next worker adopts them."""
    FRESH_PROCESS = 75
    """Memory ran out or something unexpected went wrong: the queue goes on in a fresh process."""
