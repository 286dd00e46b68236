"""Encode frames as an MP4 that plays everywhere: H.264, yuv420p, BT.709, moov atom first, receipt in the comment."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TextIO

import imageio_ffmpeg
import numpy as np
from numpy.typing import NDArray

from wan_pipeline.clips.ffmpeg import write_error
from wan_pipeline.errors import StorageError
from wan_pipeline.storage.files import whole_file

CODEC = "libx264"
CRF = 16
"""Visually lossless; about 0.5 MB for two seconds at 320 x 192."""
PRESET = "medium"
"""Preset of x264: speed against size."""

# Without a named matrix ffmpeg converts RGB by BT.601, and most players decode it as BT.709: colours would shift.
COLOURS = (
    "scale=out_color_matrix=bt709:out_range=tv,format=yuv420p,"
    "setparams=colorspace=bt709:color_primaries=bt709:color_trc=bt709:range=tv"
)


def encoder_settings() -> dict[str, str]:
    """All that decides the decoded picture beside the frames, for the receipt."""
    return {
        "codec": CODEC,
        "crf": str(CRF),
        "preset": PRESET,
        "filter": COLOURS,
        "ffmpeg": _ffmpeg_version(),
    }


def _ffmpeg_version() -> str:
    """Read the version from the name of imageio-ffmpeg's own binary, which saves a process; ask any other ffmpeg."""
    name = Path(imageio_ffmpeg.get_ffmpeg_exe()).name
    return name if "-v" in name else str(imageio_ffmpeg.get_ffmpeg_version())


def encode(frames: NDArray[np.uint8], fps: int, destination: Path, metadata: dict[str, Any] | None) -> None:
    """Write (T, H, W, 3) frames with even sides as MP4; `metadata` goes into its `comment` tag as JSON.

    The file is written completely or not at all. Raises StorageError.
    """
    comment = "" if metadata is None else json.dumps(metadata, ensure_ascii=False, sort_keys=True)
    height, width = frames.shape[1:3]
    encode_frames(frames, (width, height), fps, destination, comment)


def encode_frames(
    frames: Iterable[NDArray[np.uint8]], size: tuple[int, int], fps: int, destination: Path, comment: str = ""
) -> None:
    """As `encode`, for (H, W, 3) frames that come one at a time; `size` is their width and height, both even."""
    with whole_file(destination) as part, tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as log:
        try:
            code = _run_ffmpeg(frames, size, fps, part, comment, log)
        except OSError as error:
            raise _failure(destination, log) from error
        if code != 0:
            raise _failure(destination, log)


def _run_ffmpeg(
    frames: Iterable[NDArray[np.uint8]], size: tuple[int, int], fps: int, part: Path, comment: str, log: TextIO
) -> int:
    """Run ffmpeg and return its exit status, which moviepy's writer ignores."""
    from moviepy.video.io.ffmpeg_writer import FFMPEG_VideoWriter  # here: it is slow to import

    options = ["-crf", str(CRF), "-vf", COLOURS, "-movflags", "+faststart", "-metadata", f"comment={comment}"]
    with FFMPEG_VideoWriter(
        str(part), size, fps, CODEC, preset=PRESET, logfile=log, ffmpeg_params=[*options, "-f", "mp4"]
    ) as mp4:
        process = mp4.proc
        for frame in frames:
            mp4.write_frame(frame)
    return int(process.returncode)


def _failure(destination: Path, log: TextIO) -> OSError | StorageError:
    """The error in ffmpeg's log: an OSError if the disk refused, else a StorageError."""
    log.seek(0)
    return write_error(f"The clip {destination.name}", log.read())
