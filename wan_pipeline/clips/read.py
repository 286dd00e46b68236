"""What a video file holds: its frames, and the receipt in its comment tag. The file may be anybody's."""

from __future__ import annotations

import json
import re
import subprocess
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

import imageio_ffmpeg
import numpy as np
from numpy.typing import NDArray

from wan_pipeline.errors import StorageError

MAX_RECEIPT_BYTES = 2**20
"""A receipt of a hundred weight files takes 20 KB."""

# A "video" may be a playlist that makes ffmpeg open other files or addresses.
SAFELY = ["-protocol_whitelist", "file", "-format_whitelist", "mov,matroska"]


def read_frames(clip: Path, fps: int | None = None) -> Iterator[NDArray[np.uint8]]:
    """Each frame as (H, W, 3) RGB, or as many a second as asked for.

    Raises StorageError if the file is gone or cannot be decoded.
    """
    pace = [] if fps is None else ["-vf", f"fps={fps}"]
    try:
        reader = imageio_ffmpeg.read_frames(_name(clip), pix_fmt="rgb24", input_params=SAFELY, output_params=pace)
        width, height = next(reader)["size"]
        for frame in reader:
            yield np.frombuffer(frame, np.uint8).reshape(height, width, 3)
    except (OSError, RuntimeError, StopIteration) as error:
        raise _unreadable(clip) from error


def count_frames(clip: Path, fps: int, at_most: int) -> int:
    """How many frames `read_frames` would give at this pace, counted up to `at_most`. Raises StorageError."""
    small = ["-vf", f"fps={fps},scale=16:16", "-frames:v", str(at_most)]
    try:
        reader = imageio_ffmpeg.read_frames(
            _name(clip), pix_fmt="gray", bits_per_pixel=8, input_params=SAFELY, output_params=small
        )
        next(reader)
        return sum(1 for _ in reader)
    except (OSError, RuntimeError, StopIteration) as error:
        raise _unreadable(clip) from error


def last_frame(clip: Path) -> NDArray[np.uint8]:
    """The last frame as (H, W, 3) RGB. Raises StorageError if the file is gone or cannot be decoded."""
    frames = deque(read_frames(clip), maxlen=1)
    if not frames:
        raise _unreadable(clip)
    return frames.pop()


def read_receipt(clip: Path) -> dict[str, Any] | None:
    """The receipt inside a video as it stands there, or None if it has none. Raises StorageError for no video."""
    found = re.search(r"^comment=((?:\\.|[^\\\n])*)$", _metadata(clip), re.MULTILINE | re.DOTALL | re.IGNORECASE)
    if found is None:
        return None
    try:
        receipt = json.loads(re.sub(r"\\(.)", r"\1", found[1], flags=re.DOTALL))
    except (ValueError, RecursionError):
        return None  # somebody else's comment
    return receipt if isinstance(receipt, dict) else None


def _metadata(clip: Path) -> str:
    """ffmpeg's listing of a file's tags, cut where it is longer than any of ours. Raises StorageError."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", *SAFELY, "-i", _name(clip), "-f", "ffmetadata", "-"]
    nothing = subprocess.DEVNULL
    with subprocess.Popen(command, stdin=nothing, stdout=subprocess.PIPE, stderr=nothing) as process:
        listing = cast(IO[bytes], process.stdout).read(MAX_RECEIPT_BYTES + 1)
        if len(listing) > MAX_RECEIPT_BYTES:
            process.kill()
            raise StorageError(
                f"The clip {clip} holds more than {MAX_RECEIPT_BYTES // 2**20} MB of notes, "
                "which is no receipt of this studio; choose another file."
            )
    if process.returncode != 0:
        raise _unreadable(clip)
    return listing.decode("utf-8", errors="replace")


def _name(clip: Path) -> str:
    """A name that ffmpeg takes for a file, whatever characters it has."""
    return f"file:{clip.resolve()}"


def _unreadable(clip: Path) -> StorageError:
    return StorageError(f"The clip {clip} cannot be read; it may have been moved, deleted or damaged.")
