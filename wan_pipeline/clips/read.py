"""Read video files, trusted or not: their frames, and the receipt in the comment tag."""

from __future__ import annotations

import re
import subprocess
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, cast

import imageio_ffmpeg
import numpy as np
from numpy.typing import NDArray

from wan_pipeline.clips.ffmpeg import SAFE_OPTIONS, file_url, reading
from wan_pipeline.errors import StorageError
from wan_pipeline.storage.outside import MAX_BYTES, OutsideDataError, parse_json


def read_frames(clip: Path, fps: int | None = None, filters: Sequence[str] = ()) -> Iterator[NDArray[np.uint8]]:
    """Decode each frame as (H, W, 3) RGB; with `fps`, frames are dropped or repeated to that rate.

    `filters` are ffmpeg's, such as those of `probe_stream`. Raises StorageError if the file is gone or cannot be
    decoded.
    """
    chain = ",".join([*([] if fps is None else [f"fps={fps}"]), *filters])
    rate = ["-vf", chain] if chain else []
    try:
        reader = imageio_ffmpeg.read_frames(
            file_url(clip), pix_fmt="rgb24", input_params=SAFE_OPTIONS, output_params=rate
        )
        width, height = next(reader)["size"]
        for frame in reader:
            yield np.frombuffer(frame, np.uint8).reshape(height, width, 3)
    except (OSError, RuntimeError, StopIteration) as error:
        raise _unreadable(clip) from error


def count_frames(clip: Path, fps: int, at_most: int) -> int:
    """Count the frames that `read_frames` gives at `fps`, up to `at_most`. Raises StorageError."""
    small = ["-vf", f"fps={fps},scale=16:16", "-frames:v", str(at_most)]
    try:
        reader = imageio_ffmpeg.read_frames(
            file_url(clip), pix_fmt="gray", bits_per_pixel=8, input_params=SAFE_OPTIONS, output_params=small
        )
        next(reader)
        return sum(1 for _ in reader)
    except (OSError, RuntimeError, StopIteration) as error:
        raise _unreadable(clip) from error


def last_frame(clip: Path) -> NDArray[np.uint8]:
    """Decode the last frame as (H, W, 3) RGB. Raises StorageError if the file is gone or cannot be decoded."""
    frames = deque(read_frames(clip), maxlen=1)
    if not frames:
        raise _unreadable(clip)
    return frames.pop()


def read_receipt(clip: Path) -> dict[str, Any] | None:
    """Read the JSON object in a video's comment tag; None if it holds none. Raises StorageError for no video."""
    comment = read_tags(clip).get("comment")
    if comment is None:
        return None
    try:
        receipt = parse_json(comment)
    except OutsideDataError:
        return None  # a comment of another program
    return receipt if isinstance(receipt, dict) else None


def read_tags(clip: Path) -> dict[str, str]:
    """Read the tags of a video, by their names in small letters. Raises StorageError for no video."""
    found = re.findall(r"^([\w-]+)=((?:\\.|[^\\\n])*)$", _metadata(clip), re.MULTILINE | re.DOTALL)
    tags: dict[str, str] = {}
    for name, value in found:  # those of the file come before those of its streams
        tags.setdefault(name.lower(), re.sub(r"\\(.)", r"\1", value, flags=re.DOTALL))
    return tags


def _metadata(clip: Path) -> str:
    """ffmpeg's listing of a file's tags. Raises StorageError for no video, and if it is larger than MAX_BYTES."""
    nothing = subprocess.DEVNULL
    command = [*reading(clip), "-f", "ffmetadata", "-"]
    with subprocess.Popen(command, stdin=nothing, stdout=subprocess.PIPE, stderr=nothing) as process:
        listing = cast(IO[bytes], process.stdout).read(MAX_BYTES + 1)
        if len(listing) > MAX_BYTES:
            process.kill()
            raise StorageError(
                f"The clip {clip.name} holds more than {MAX_BYTES // 2**20} MB of notes, "
                "which is no receipt of this studio; choose another file."
            )
    if process.returncode != 0:
        raise _unreadable(clip)
    return listing.decode("utf-8", errors="replace")


def _unreadable(clip: Path) -> StorageError:
    return StorageError(f"The clip {clip.name} cannot be read; it may have been moved, deleted or damaged.")
