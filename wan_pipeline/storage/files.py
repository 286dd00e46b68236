"""Files that appear whole or not at all, and plain words when the disk refuses."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from wan_pipeline.errors import StorageError
from wan_pipeline.storage.crash import CrashPoint, crash_point

RESERVE_BYTES = 32 * 2**20
"""Kept free beside the clip: its poster, the receipt, the job database and the log grow too."""


@contextmanager
def whole_file(destination: Path) -> Iterator[Path]:
    """Give a `.part` path beside `destination`; on success flush it to the disk and rename it, else remove it.

    Raises StorageError, naming the folder and the way out, for any OSError within.
    """
    part = destination.with_name(f"{destination.name}.{uuid4().hex[:8]}.part")  # others may write the same file
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        part.touch()  # refused here, the reason is the system's own; ffmpeg only tells it in words
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


def check_writable(folder: Path) -> None:
    """Make the folder if it is not there. Raises StorageError unless a file can be written in it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:  # without a name, so that no death leaves it there
            probe.write(b"room")
    except OSError as error:
        raise storage_error(folder, error) from error


def check_room(folder: Path, needed_bytes: int) -> None:
    """Raise StorageError unless `folder` can be written to and has `needed_bytes` and a reserve free."""
    check_writable(folder)
    free = shutil.disk_usage(folder).free
    if free < needed_bytes + RESERVE_BYTES:
        raise StorageError(
            f"The folder {folder} has {_megabytes(free)} free and a clip like this may need "
            f"{_megabytes(needed_bytes + RESERVE_BYTES)}; free some space or choose a folder on another disk."
        )


def storage_error(folder: Path, error: OSError) -> StorageError:
    """What an OSError while writing to `folder` means for the person, in one sentence."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) or getattr(error, "winerror", None) == 112:
        return StorageError(
            f"The disk of the folder {folder} is full; free some space or choose a folder on another disk."
        )
    reason = error.strerror or str(error)
    return StorageError(
        f"The folder {folder} cannot be written to ({reason}); choose another folder or change its permissions."
    )


def _flush(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _flush_name(folder: Path) -> None:
    """Let a new name last through a power cut. Windows cannot open a folder, and sees to its names itself."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some file systems of networks cannot; the file itself is whole and in its place
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:  # its folder is not one, or is gone: then there is nothing to remove
        if error.errno not in (errno.ENOTDIR, errno.ENOENT, errno.EROFS):
            raise storage_error(path.parent, error) from error


def _megabytes(count: int) -> str:
    return f"{count / 2**20:,.0f} MB"
