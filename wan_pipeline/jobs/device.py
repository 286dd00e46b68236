"""Who has the device: a worker for a clip of the queue, or what is made without it."""

from __future__ import annotations

import gc
import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

from filelock import FileLock, Timeout

from wan_pipeline.progress import Observer, Progress, Stage, check_cancelled
from wan_pipeline.settings import Settings
from wan_pipeline.storage.locks import DEVICE_SECONDS, WorkspaceLocks, is_held

POLL_SECONDS = 0.5

logger = logging.getLogger(__name__)

TakeDevice = Callable[[], AbstractContextManager[None]]
"""Makes the context manager that work holds while it computes on the device. `nullcontext` where the caller has it."""


@contextmanager
def device_without_queue(settings: Settings, observer: Observer, guest: FileLock | None = None) -> Iterator[None]:
    """Context manager: hold the device, once no other process of the workspace computes on it.

    Trainings yield it within a step, and a worker that is idle unloads its model; clips of the queue are waited for.
    `guest` is the lock by which they see that it is wanted; that of a clip without the queue if it is left out. Reports
    QUEUED while it waits. Raises Cancelled.
    """
    locks = WorkspaceLocks(settings.workspace)
    with ExitStack() as held:
        for lock in (guest or locks.one_shot(), locks.device()):
            while not _take(held, lock):
                check_cancelled(observer, "wait for the device")
                observer.progress(Progress(Stage.QUEUED))
        yield


def wait_for_device(held: ExitStack, locks: WorkspaceLocks, slot: int, observer: Observer) -> None:
    """Let the stack hold the device of a worker's slot: what else uses it, such as a training, releases it in a step.

    A clip without the queue or a share of another worker's clip may take its time. What else does not
    release the device hangs, and the queue goes on beside it. Reports QUEUED while it waits. Raises Cancelled.
    """
    if _take(held, lock := locks.device(slot)):
        return
    deadline = time.monotonic() + DEVICE_SECONDS
    while not _take(held, lock):
        check_cancelled(observer)
        observer.progress(Progress(Stage.QUEUED))
        if slot or is_held(locks.one_shot()):
            deadline = time.monotonic() + DEVICE_SECONDS
        elif time.monotonic() > deadline:
            logger.warning("Another process does not release the device; the queue goes on beside it.")
            break
    observer.progress(Progress(Stage.LOADING))


def _take(held: ExitStack, lock: FileLock) -> bool:
    """Take a lock, waiting for a moment. False while another process has it."""
    try:
        held.enter_context(lock.acquire(timeout=POLL_SECONDS))
    except Timeout:
        return False
    return True


def free_memory(settings: Settings) -> None:
    """Let the device have what work held that is over: its modules and hooks refer to each other.

    Call it once no exception of that work is being handled, whose traceback refers to them too.
    """
    gc.collect()
    if "torch" not in sys.modules:
        return
    from wan_pipeline.engine.device.placement import choose_placement, release_memory, release_pinned

    place = choose_placement(settings.device)
    release_memory(place)
    release_pinned(place)
