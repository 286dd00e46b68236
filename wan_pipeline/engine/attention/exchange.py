"""What two devices give each other while each computes its part of one pass, each in a thread of its own.

Both threads come to the same exchanges in the same order. What they wait for there is only that the other has queued
its work; on devices with streams the work itself is ordered by events, and copies run beside what computes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from queue import SimpleQueue

import torch

from wan_pipeline.engine.memory.block_copies import has_streams


class PeerFailed(Exception):
    """The other device's thread has ended by an error, which is the one to tell."""


@dataclass(frozen=True)
class Parcel:
    """Tensors for the other device, which must not be written to any more."""

    tensors: tuple[torch.Tensor, ...]
    ready: torch.Event | None
    """When they are computed; None without streams."""


class Side:
    """One device's end of an exchange, for its thread alone."""

    def __init__(self, device: torch.device, peer: torch.device, *, is_first: bool) -> None:
        self.is_first = is_first
        self._device = device
        self._copies, self._peer_copies = (torch.Stream(at) if has_streams(at) else None for at in (device, peer))
        """Torch copies on a stream of the device that it copies from, and lets one of the other device wait."""
        self._inbox: SimpleQueue[Sequence[Parcel] | None] = SimpleQueue()
        self._outbox = self._inbox
        self._given: deque[Sequence[Parcel]] = deque(maxlen=2)
        """Kept until the other device has copied them, which is before the exchange after the next."""

    def connect(self, other: Side) -> None:
        """Let this side give to the other."""
        self._outbox = other._inbox

    def own(self, length: int) -> slice:
        """Which of so many rows, or heads, are this device's."""
        half = (length + 1) // 2
        return slice(0, half) if self.is_first else slice(half, length)

    def parcel(self, *tensors: torch.Tensor) -> Parcel:
        """These tensors, ready when what is queued here so far is done."""
        return Parcel(tensors, self.mark())

    def swap(self, parcels: Sequence[Parcel]) -> Sequence[Parcel]:
        """Give parcels to the other device, and take those that it gives in the same place. Raises PeerFailed."""
        self._given.append(parcels)
        self._outbox.put(parcels)
        theirs = self._inbox.get()
        if theirs is None:
            raise PeerFailed
        return theirs

    def mark(self) -> torch.Event | None:
        """When what is queued here so far is done; None without streams."""
        return torch.accelerator.current_stream(self._device).record_event() if self._copies is not None else None

    def wait_for(self, event: torch.Event | None) -> None:
        """Let what is queued here from now on wait for an event."""
        if event is not None:
            torch.accelerator.current_stream(self._device).wait_event(event)

    def copy(self, parcel: Parcel, targets: Sequence[torch.Tensor], after: torch.Event | None) -> torch.Event | None:
        """Copy the other device's tensors into `targets`, once what uses those is done. When the copies are done."""
        if self._copies is None or self._peer_copies is None or parcel.ready is None or after is None:
            _copy(parcel.tensors, targets)
            return None
        self._peer_copies.wait_event(parcel.ready)
        self._copies.wait_event(after)
        with self._peer_copies, self._copies:
            _copy(parcel.tensors, targets)
        return self._copies.record_event()

    def join(self, parcel: Parcel, *own: torch.Tensor) -> tuple[list[torch.Tensor], torch.Event | None]:
        """Each of these tensors with the other device's rows beside its own, and when they are whole."""
        joined, missing = [], []
        for rows, others in zip(own, parcel.tensors, strict=True):
            whole = rows.new_empty((rows.shape[0], rows.shape[1] + others.shape[1], *rows.shape[2:]))
            here, there = self.parts(whole, rows.shape[1])
            here.copy_(rows)
            joined.append(whole)
            missing.append(there)
        return joined, self.copy(parcel, missing, self.mark())

    def parts(self, whole: torch.Tensor, own: int) -> tuple[torch.Tensor, torch.Tensor]:
        """This device's rows, so many, and those of the other."""
        if self.is_first:
            return whole[:, :own], whole[:, own:]
        return whole[:, -own:], whole[:, :-own]

    @contextmanager
    def failing_together(self) -> Iterator[None]:
        """Context manager: an error within ends the other thread too, where it waits for this one."""
        try:
            yield
        except BaseException:
            self._outbox.put(None)
            raise

    def close(self) -> None:
        """Wait for the copies in flight, so that their memory can be released."""
        for stream in (self._copies, self._peer_copies):
            if stream is not None:
                stream.synchronize()
        self._given.clear()


@contextmanager
def exchange(first: torch.device, second: torch.device) -> Iterator[tuple[Side, Side]]:
    """Context manager: the ends of an exchange between two devices. After an error it is of no more use."""
    sides = Side(first, second, is_first=True), Side(second, first, is_first=False)
    sides[0].connect(sides[1])
    sides[1].connect(sides[0])
    try:
        yield sides
    finally:
        for side in sides:
            side.close()


def _copy(sources: Sequence[torch.Tensor], targets: Sequence[torch.Tensor]) -> None:
    """Between devices only whole pieces of memory: what is strided is written here."""
    for source, target in zip(sources, targets, strict=True):
        target.copy_(source if target.is_contiguous() else source.to(target.device), non_blocking=True)
