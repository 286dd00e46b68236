"""What all calls of ffmpeg share: how a file is opened, and the reason in its output when it fails."""

from __future__ import annotations

import errno
from pathlib import Path

import imageio_ffmpeg

from wan_pipeline.errors import StorageError

# A "video" may be a playlist that makes ffmpeg open other files or addresses.
SAFE_OPTIONS = ["-protocol_whitelist", "file", "-format_whitelist", "mov,matroska,avi"]


def file_url(path: Path) -> str:
    """A URL that makes ffmpeg open a file, whatever characters its name has."""
    return f"file:{path.resolve()}"


def reading(clip: Path, verbosity: str = "error") -> list[str]:
    """The beginning of a command line that reads a video."""
    return [imageio_ffmpeg.get_ffmpeg_exe(), "-v", verbosity, *SAFE_OPTIONS, "-i", file_url(clip)]


def last_line(output: str) -> str:
    """The end of what ffmpeg wrote: why it failed."""
    return (output.strip().splitlines() or ["no message"])[-1]


def write_error(what: str, output: str) -> OSError | StorageError:
    """The error in what ffmpeg wrote when it could not write a file: an OSError if the disk refused."""
    disk_errors = {errno.ENOSPC: "No space left", errno.EFBIG: "File too large", errno.EIO: "Input/output"}
    for code, message in disk_errors.items():
        if message in output:
            return OSError(code, message)
    return StorageError(f"{what} could not be encoded; ffmpeg says: {last_line(output)}")
