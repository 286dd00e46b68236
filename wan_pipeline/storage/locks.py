"""Which processes of a workspace are alive, by locks of the operating system: a lock ends with its process."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from wan_pipeline.storage.files import storage_error

LOCK_SECONDS = 3.0
"""How long to wait for a lock. `is_held` takes it for a moment, so a free lock may look taken."""
CUTS_SECONDS = 60.0
"""How long to wait for a project's cuts. A change reads the clips that it adds, which takes seconds at most."""
DEVICE_SECONDS = 600.0
"""How long to wait for the device. All but the worker yield it within a step, but not while they load a model."""

CLUSTER_SLOT = 1000
"""The slot of all jobs that a cluster's nodes make, beyond those of the machine's own GPUs."""


class WorkspaceLocks:
    """The locks of one workspace."""

    def __init__(self, workspace: Path) -> None:
        self._folder = workspace / "locks"
        self._folder.mkdir(parents=True, exist_ok=True)

    def worker(self, slot: int = 0) -> FileLock:
        """Held by the worker process of a slot, which processes the queue; of CLUSTER_SLOT by `cluster`."""
        return FileLock(self._folder / _of_slot("worker", slot), timeout=LOCK_SECONDS)

    def main_app(self) -> FileLock:
        """Held by the app that runs the workspace; other apps only view it. Any thread may acquire and release it."""
        return FileLock(self._folder / "main.lock", timeout=LOCK_SECONDS, thread_local=False)

    def app(self) -> FileLock:
        """Held by an app as long as it serves its page; each app has its own."""
        return FileLock(self._folder / f"app-{uuid.uuid4().hex}.lock", timeout=LOCK_SECONDS)

    def verifier(self) -> FileLock:
        """Held by the process that renders a clip again to verify it."""
        return FileLock(self._folder / "verifier.lock", timeout=LOCK_SECONDS)

    def artist(self) -> FileLock:
        """Held by the process that draws the cards of saved styles."""
        return FileLock(self._folder / "artist.lock", timeout=LOCK_SECONDS)

    def trainer(self) -> FileLock:
        """Held by the process that trains LoRAs."""
        return FileLock(self._folder / "trainer.lock", timeout=LOCK_SECONDS)

    def dataset_check(self) -> FileLock:
        """Held by the process that checks a dataset for the page."""
        return FileLock(self._folder / "dataset.lock", timeout=LOCK_SECONDS)

    def captions(self) -> FileLock:
        """Held by the process that writes a dataset's captions."""
        return FileLock(self._folder / "captions.lock", timeout=LOCK_SECONDS)

    def one_shot(self) -> FileLock:
        """Held by a process that makes a clip without the queue, also while it waits for the device."""
        return FileLock(self._folder / "one-shot.lock", timeout=LOCK_SECONDS)

    def exporter(self) -> FileLock:
        """Held by the process that exports a clip for the page."""
        return FileLock(self._folder / "exporter.lock", timeout=LOCK_SECONDS)

    def clip_work(self) -> FileLock:
        """Held by the process that makes sound or other frames of a clip for the page."""
        return FileLock(self._folder / "clip_work.lock", timeout=LOCK_SECONDS)

    def cut_exporter(self) -> FileLock:
        """Held by the process that exports a cut for the page."""
        return FileLock(self._folder / "cut-exporter.lock", timeout=LOCK_SECONDS)

    def export_decoder(self) -> FileLock:
        """Held by the process that exports a clip while it decodes latents, or waits for the device to do so."""
        return FileLock(self._folder / "export-decoder.lock", timeout=LOCK_SECONDS)

    def cut_decoder(self) -> FileLock:
        """As `export_decoder`, by the process that exports a cut."""
        return FileLock(self._folder / "cut-decoder.lock", timeout=LOCK_SECONDS)

    def cuts(self, project: str) -> FileLock:
        """Held while a project's cuts are read and written; a thread that holds it may acquire it again."""
        return FileLock(self._folder / f"cuts-{project}.lock", timeout=CUTS_SECONDS)

    def device_guests(self) -> tuple[FileLock, ...]:
        """The locks of all that needs the device while the queue is idle; cards of styles are too small to count.

        The trainer's is first: while it is held, `any_is_held` takes none of those that a training watches.
        """
        return (self.trainer(), *self.short_guests())

    def short_guests(self) -> tuple[FileLock, ...]:
        """The locks of what a person waits for, some minutes long: a training gives way to it."""
        background = self.verifier(), self.captions(), self.clip_work()
        return (self.one_shot(), *background, self.export_decoder(), self.cut_decoder())

    def transfer(self, model_id: str) -> FileLock:
        """Held by the process that downloads or verifies this model."""
        return FileLock(self._folder / f"model-{model_id}.lock", timeout=LOCK_SECONDS)

    def device(self, slot: int = 0) -> FileLock:
        """Held while a clip is rendered or a LoRA is trained, by whichever process: they never share its memory.

        Whatever is no worker has the device of the first slot.
        """
        return FileLock(self._folder / _of_slot("device", slot), timeout=DEVICE_SECONDS)

    def worker_is_alive(self, slot: int = 0) -> bool:
        return is_held(self.worker(slot))

    def any_app_is_alive(self) -> bool:
        """Whether an app holds its lock. Lock files of dead apps are deleted."""
        held = [not remove_if_free(path) for path in self._folder.glob("app-*.lock")]
        return any(held)


@contextmanager
def only_writer(path: Path) -> Iterator[None]:
    """Context manager: no other process writes this file, which several may make or change. Waits for its turn.

    A lock beside the file says so. Look at the file again within: another may have made it. Raises StorageError.
    """
    lock = FileLock(path.with_name(f"{path.name}.lock"), thread_local=False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except OSError as error:
        raise storage_error(path.parent, error) from error
    try:
        yield
    finally:
        lock.release()


def _of_slot(name: str, slot: int) -> str:
    """The first slot has the name that the lock had when there was but one."""
    return f"{name}-{slot}.lock" if slot else f"{name}.lock"


def remove_if_free(path: Path) -> bool:
    """Delete a lock file that no process holds. Returns whether none did."""
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return False
    try:
        path.unlink(missing_ok=True)  # while it is held: an app that takes it just then notices, and makes a new one
    except PermissionError:  # on Windows, where no open file is deleted
        lock.release()
        with suppress(PermissionError):
            path.unlink(missing_ok=True)
    finally:
        lock.release()
    return True


def any_is_held(locks: Iterable[FileLock]) -> bool:
    return any(is_held(lock) for lock in locks)


def is_held(lock: FileLock) -> bool:
    """Whether another holder has the lock now."""
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    lock.release()
    return False
