"""The device for a clip that is made without the queue."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from filelock import FileLock, Timeout

from wan_pipeline.progress import Observer, Progress, Stage, check_cancelled
from wan_pipeline.settings import Settings
from wan_pipeline.storage.locks import WorkspaceLocks

POLL_SECONDS = 0.5


@contextmanager
def device_without_queue(settings: Settings, observer: Observer) -> Iterator[None]:
    """Context manager: hold the device, once no other process of the workspace computes on it.

    Trainings yield it within a step, and a worker that is idle unloads its model; clips of the queue are waited for.
    Reports QUEUED while it waits. Raises Cancelled.
    """
    locks = WorkspaceLocks(settings.workspace)
    with ExitStack() as held:
        for lock in (locks.one_shot(), locks.device()):
            while not _take(held, lock):
                check_cancelled(observer)
                observer.progress(Progress(Stage.QUEUED))
        yield


def _take(held: ExitStack, lock: FileLock) -> bool:
    """Take a lock, waiting for a moment. False while another process has it."""
    try:
        held.enter_context(lock.acquire(timeout=POLL_SECONDS))
    except Timeout:
        return False
    return True
