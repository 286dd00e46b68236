"""Frames to an MP4 that plays everywhere: H.264, yuv420p, BT.709, index at the front, receipt in the comment tag."""

from __future__ import annotations

import errno
import json
import tempfile
from pathlib import Path
from typing import Any, TextIO

import imageio_ffmpeg
import numpy as np
from numpy.typing import NDArray

from wan_pipeline.errors import StorageError
from wan_pipeline.storage.files import whole_file

CODEC = "libx264"
CRF = 16
"""x264 quality: visually lossless, about 0.5 MB for two seconds at 320 x 192."""
PRESET = "medium"
"""x264 effort."""

# Without a matrix named, RGB is converted by BT.601 and most players show it as BT.709: colours would shift.
COLOURS = (
    "scale=out_color_matrix=bt709:out_range=tv,format=yuv420p,"
    "setparams=colorspace=bt709:color_primaries=bt709:color_trc=bt709:range=tv"
)


def encoder_settings() -> dict[str, str]:
    """All that decides the picture of an MP4 beside its frames."""
    return {
        "codec": CODEC,
        "crf": str(CRF),
        "preset": PRESET,
        "filter": COLOURS,
        "ffmpeg": _ffmpeg_version(),
    }


def _ffmpeg_version() -> str:
    """The name of the program that comes with imageio-ffmpeg tells it; another one has to be asked each time."""
    name = Path(imageio_ffmpeg.get_ffmpeg_exe()).name
    return name if "-v" in name else str(imageio_ffmpeg.get_ffmpeg_version())


def encode(frames: NDArray[np.uint8], fps: int, destination: Path, metadata: dict[str, Any] | None) -> None:
    """Write (T, H, W, 3) frames with even sides as MP4; `metadata` goes into its `comment` tag as JSON.

    The file appears whole or not at all. Raises StorageError.
    """
    comment = "" if metadata is None else json.dumps(metadata, ensure_ascii=False, sort_keys=True)
    with whole_file(destination) as part, tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as log:
        try:
            code = _run_ffmpeg(frames, fps, part, comment, log)
        except OSError as error:
            raise _failure(destination, log) from error
        if code != 0:
            raise _failure(destination, log)


def _run_ffmpeg(frames: NDArray[np.uint8], fps: int, part: Path, comment: str, log: TextIO) -> int:
    """The exit status of ffmpeg, which moviepy's writer itself does not look at."""
    from moviepy.video.io.ffmpeg_writer import FFMPEG_VideoWriter  # here: it takes a while, and the page needs none

    height, width = frames.shape[1:3]
    options = ["-crf", str(CRF), "-vf", COLOURS, "-movflags", "+faststart", "-metadata", f"comment={comment}"]
    with FFMPEG_VideoWriter(
        str(part), (width, height), fps, CODEC, preset=PRESET, logfile=log, ffmpeg_params=[*options, "-f", "mp4"]
    ) as mp4:
        process = mp4.proc
        for frame in frames:
            mp4.write_frame(frame)
    return int(process.returncode)


def _failure(destination: Path, log: TextIO) -> OSError | StorageError:
    """What ffmpeg's log says went wrong: an OSError where it is one of the disk."""
    log.seek(0)
    text: str = log.read()
    for code, words in ((errno.ENOSPC, "No space left"), (errno.EFBIG, "File too large"), (errno.EIO, "Input/output")):
        if words in text:
            return OSError(code, words)
    last = text.strip().splitlines()[-1] if text.strip() else "no message"
    return StorageError(f"The clip {destination} could not be encoded; ffmpeg says: {last}")
