"""What the queue waits for when a disk is full."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from wan_pipeline.errors import DiskFullError, StorageError
from wan_pipeline.storage.files import RESERVE_BYTES, check_room
from wan_pipeline.wording import data_size

FIRST_PAUSE_SECONDS = 30.0
MAX_PAUSE_SECONDS = 600.0


@dataclass(frozen=True)
class NoRoom:
    """A clip that found no room, and where. Stored as JSON while the queue waits."""

    reason: str
    """The error's sentence."""
    folders: tuple[str, ...]
    """Folders that need space: that of the clips, and the one that had none."""
    clip_bytes: int

    @classmethod
    def of(cls, error: DiskFullError, clips: Path, clip_bytes: int) -> NoRoom:
        return cls(str(error), tuple(dict.fromkeys((str(clips), str(error.folder)))), clip_bytes)

    @property
    def needed(self) -> str:
        """How much must be free, such as 33.7 MB."""
        return data_size(self.clip_bytes + RESERVE_BYTES)

    def is_over(self) -> bool:
        try:
            for folder in self.folders:
                check_room(Path(folder), self.clip_bytes)
        except StorageError:
            return False
        return True


class DiskBackoff:
    """When to check for disk space again: at once, then with growing pauses while every clip still runs out of space.

    A quota can refuse what a disk says it has; without this the same clip would be made again and again.
    """

    def __init__(self) -> None:
        self._count = 0
        self._not_before = 0.0

    def clip_found_none(self) -> None:
        self._count += 1
        if self._count > 1:
            pause = min(FIRST_PAUSE_SECONDS * 2.0 ** (self._count - 2), MAX_PAUSE_SECONDS)
            self._not_before = time.monotonic() + pause

    def clip_was_saved(self) -> None:
        self._count, self._not_before = 0, 0.0

    def may_look(self) -> bool:
        return time.monotonic() >= self._not_before
