"""Files that are written completely or not at all, and disk errors in plain words."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from wan_pipeline.errors import DiskFullError, StorageError
from wan_pipeline.storage.crash import CrashPoint, crash_point
from wan_pipeline.wording import data_size

RESERVE_BYTES = 32 * 10**6
"""Left free beside a clip, for its poster and receipt, the database and the log."""

SMALL_BYTES = 2**20


@contextmanager
def whole_file(destination: Path) -> Iterator[Path]:
    """Give a `.part` path beside `destination`; on success flush it to the disk and rename it, else delete it.

    Raises StorageError for any OSError within.
    """
    part = destination.with_name(f"{destination.name}.{uuid4().hex[:8]}.part")  # others may write the same file
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        part.touch()  # fails here with an errno; ffmpeg would give only a message
        yield part
        _flush(part)
        crash_point(CrashPoint.PART_WRITTEN)
        part.replace(destination)
        _flush_name(destination.parent)
        crash_point(CrashPoint.PART_RENAMED)
    except OSError as error:
        raise storage_error(destination.parent, error) from error
    finally:
        _remove(part)


@contextmanager
def whole_folder(destination: Path) -> Iterator[Path]:
    """Give a new `.part` folder beside `destination`; on success rename it, else delete it with all that is in it.

    `destination` may be an empty folder. Raises StorageError for any OSError within.
    """
    part = destination.with_name(f"{destination.name}.{uuid4().hex[:8]}.part")
    try:
        part.mkdir(parents=True)
        yield part
        for path in part.iterdir():
            _flush(path)
        if destination.is_dir():
            destination.rmdir()  # Windows renames to no folder that is there
        part.rename(destination)
        _flush_name(destination.parent)
    except OSError as error:
        raise storage_error(destination.parent, error) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def check_writable(folder: Path) -> None:
    """Create the folder if need be. Raises StorageError unless a file can be written in it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:  # unnamed, so a crash leaves nothing
            probe.write(b"room")
    except OSError as error:
        raise storage_error(folder, error) from error


def check_room(folder: Path, needed_bytes: int, what: str = "a clip like this") -> None:
    """Raise StorageError unless `folder` is writable, DiskFullError unless it has that and RESERVE_BYTES free.

    `what` says in the error what needs the room.
    """
    check_writable(folder)
    free = shutil.disk_usage(folder).free
    if free < needed_bytes + RESERVE_BYTES:
        raise DiskFullError(
            f"The folder {folder} has {data_size(free)} free and {what} may need "
            f"{data_size(needed_bytes + RESERVE_BYTES)}; free some space or choose a folder on another disk.",
            folder,
        )


def keep_newest(folder: Path, count: int) -> None:
    """Delete all safetensors files in a folder but the `count` that were changed last."""
    by_age = sorted(folder.glob("*.safetensors"), key=lambda file: file.stat().st_mtime)
    for oldest in by_age[:-count]:
        oldest.unlink(missing_ok=True)


def has_room(folder: Path) -> bool:
    """Whether a small file can be written."""
    try:
        return shutil.disk_usage(folder).free > SMALL_BYTES
    except OSError:
        return False


def storage_error(folder: Path, error: OSError) -> StorageError:
    """The StorageError that says what an OSError while writing to `folder` means for the user."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT) or getattr(error, "winerror", None) == 112:
        return DiskFullError(
            f"The disk of the folder {folder} is full; free some space or choose a folder on another disk.", folder
        )
    if error.errno == errno.EFBIG:
        return StorageError(f"The disk of the folder {folder} takes no file of this size; choose another disk.")
    reason = error.strerror or str(error)
    return StorageError(
        f"The folder {folder} cannot be written to ({reason}); choose another folder or change its permissions."
    )


def _flush(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _flush_name(folder: Path) -> None:
    """Make a rename durable. Windows cannot open a folder, and flushes names by itself."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network file systems cannot; the file itself is complete and in place
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:  # the folder is gone or not a folder: nothing to delete
        if error.errno not in (errno.ENOTDIR, errno.ENOENT, errno.EROFS):
            raise storage_error(path.parent, error) from error


def modified(path: Path) -> tuple[int, int]:
    """When a file or folder was last changed, in nanoseconds, and its bytes; zeros for none.

    Of an SQLite database without a write-ahead log it changes with every commit.
    """
    try:
        facts = path.stat()
    except OSError:
        return 0, 0
    return facts.st_mtime_ns, facts.st_size
