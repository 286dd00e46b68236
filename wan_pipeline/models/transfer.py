"""Progress of moving a model's bytes: from the Hub, from one file to another, or through a hash."""

from __future__ import annotations

import shutil
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Protocol

from pydantic import Field

from wan_pipeline.errors import Cancelled, ModelError
from wan_pipeline.storage.files import RESERVE_BYTES
from wan_pipeline.wording import data_size

READ_BYTES = 8 * 2**20
SPEED_SECONDS = 10.0
SAMPLE_SECONDS = 0.1
MAX_BYTES = 2**60
"""Largest transfer; a state file that says more is damaged."""

_Bytes = Annotated[int, Field(ge=0, le=MAX_BYTES)]


@dataclass(frozen=True)
class TransferProgress:
    """One moment of a transfer."""

    file: str = ""
    """The file that is being moved now, as the repository calls it."""
    done_bytes: _Bytes = 0
    total_bytes: _Bytes = 0
    bytes_per_second: Annotated[float, Field(ge=0, le=MAX_BYTES)] = 0.0
    """Over the last ten seconds; 0 until it is known."""

    @property
    def eta_seconds(self) -> float | None:
        """None while it is unknown."""
        if self.bytes_per_second < 1:
            return None
        return (self.total_bytes - self.done_bytes) / self.bytes_per_second


class TransferObserver(Protocol):
    def transferred(self, progress: TransferProgress) -> None: ...

    def cancelled(self) -> bool: ...


class Meter:
    """Counts the bytes of a transfer, measures its speed, reports to the observer and stops when it asks for that."""

    def __init__(self, observer: TransferObserver, total: int, done: int = 0) -> None:
        self.file = ""
        self._observer = observer
        self._total, self._done = total, done
        self._samples = deque([(time.monotonic(), done)])

    def add(self, count: int) -> None:
        """Count `count` more bytes; none to only report, and fewer where some are transferred again.

        Raises Cancelled.
        """
        if self._observer.cancelled():
            raise Cancelled("The transfer was stopped.")
        self._done += count
        self._observer.transferred(TransferProgress(self.file, self._done, self._total, self._speed()))

    def _speed(self) -> float:
        now = time.monotonic()
        if now - self._samples[-1][0] > SAMPLE_SECONDS:
            self._samples.append((now, self._done))
        while now - self._samples[0][0] > SPEED_SECONDS and len(self._samples) > 2:
            self._samples.popleft()
        since, before = self._samples[0]
        return max(self._done - before, 0) / (now - since) if now - since > 0.5 else 0.0


def free_bytes(folder: Path) -> int:
    """Bytes that models may take of the disk of `folder`, which need not exist yet. A reserve is left for the rest."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return max(shutil.disk_usage(folder).free - RESERVE_BYTES, 0)


def check_free_space(folder: Path, needed_bytes: int, name: str, remedy: str) -> None:
    """Raise ModelError unless the disk of `folder` has `needed_bytes` free for the model `name`."""
    free = free_bytes(folder)
    if free < needed_bytes:
        raise ModelError(
            f"{name} needs {data_size(needed_bytes)} more and the disk of {folder} has {data_size(free)} free; "
            f"free some space, or {remedy}."
        )
