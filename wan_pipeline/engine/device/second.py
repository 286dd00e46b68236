"""The second GPU of a process: taken for one clip at a time, while no worker of its own has it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import torch
from filelock import Timeout

from wan_pipeline.engine.device.placement import Placement, limit_memory
from wan_pipeline.settings import Settings
from wan_pipeline.storage.locks import WorkspaceLocks


class SecondDevice:
    """The GPU that comes second in the settings' list, for the process of the first."""

    def __init__(self, settings: Settings, place: Placement | None) -> None:
        """`place` is None where there is none."""
        self._place = place
        self._locks = WorkspaceLocks(settings.workspace)
        if place is not None:
            limit_memory(place, settings.memory_limit)

    @property
    def exists(self) -> bool:
        """Whether there is one, though another process may have it."""
        return self._place is not None

    @contextmanager
    def taken(self) -> Iterator[Placement | None]:
        """Context manager: the device is this process's alone. None if there is none, or another has it."""
        if self._place is None or self._locks.worker_is_alive(1):
            yield None
            return
        lock = self._locks.device(1)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            yield None
            return
        try:
            yield self._place
        finally:
            lock.release()


def choose_second(settings: Settings, first: Placement) -> Placement | None:
    """The second GPU, if the process has the first and both are of one kind: others would round otherwise."""
    if settings.slot or len(settings.slots) < 2 or first.device.type != "cuda" or torch.cuda.device_count() < 2:
        return None
    names = [torch.cuda.get_device_name(number) for number in range(2)]
    return Placement(torch.device("cuda", 1), first.dtype) if names[0] == names[1] else None


def second_free(settings: Settings, first: Placement) -> int:
    """Free memory of the second GPU for a clip of a process that is to have the first; 0 if there is none."""
    place = choose_second(settings, first)
    return free_bytes(place) if place is not None else 0


def free_bytes(place: Placement) -> int:
    """Free memory of a device of no other process, with what torch has cached there."""
    if place.on_cpu:
        return int(psutil.virtual_memory().available)
    free, _ = torch.cuda.mem_get_info(place.device)
    cached = torch.cuda.memory_reserved(place.device) - torch.cuda.memory_allocated(place.device)
    return int(free) + cached
