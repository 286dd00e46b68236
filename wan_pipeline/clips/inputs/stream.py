"""How a video's pixels are to be read: their shape, and the matrix of their colours where the file names none."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from wan_pipeline.clips.ffmpeg import reading
from wan_pipeline.errors import StorageError

HD_WIDTH, SD_HEIGHT = 1280, 576
"""A picture of this width, or of more than this height, is HD."""
MAX_SIDE = 16_384
YUV = re.compile(r"yuv|nv\d\d|p0\d\d|uyvy|yuyv")

_SHAPE = re.compile(r" fmt:(\S+) .*?sar:(\d+)/(\d+) s:(\d+)x(\d+) ")
_MATRIX = re.compile(r"color_space:(\S+)")


@dataclass(frozen=True)
class VideoStream:
    """The first frame of a video as it is stored, after the rotation that the file asks for."""

    width: int
    height: int
    aspect: float = 1.0
    """Width of a pixel as it is shown, relative to its height; 1 where the file does not say."""
    matrix: str | None = None
    """The colour matrix that is assumed, as ffmpeg calls it; None where the file names it, or has no need of one."""

    @property
    def assumption(self) -> str:
        """What is assumed of its colours, for people; empty where nothing is."""
        return "" if self.matrix is None else {"bt709": "BT.709", "bt601": "BT.601"}[self.matrix]

    @property
    def filters(self) -> list[str]:
        """ffmpeg's filters that give square pixels and the right colours; none where that is so already."""
        if self.aspect == 1.0 and self.matrix is None:
            return []
        width, height = self._square()
        matrix = "" if self.matrix is None else f":in_color_matrix={self.matrix}"
        return [f"scale={width}:{height}{matrix}", "setsar=1", "format=rgb24"]

    def _square(self) -> tuple[int, int]:
        """Pixels of the frame as it is shown; nothing of it is lost."""
        width, height = self.width * max(self.aspect, 1.0), self.height / min(self.aspect, 1.0)
        return min(round(width), MAX_SIDE), min(round(height), MAX_SIDE)


def probe_stream(clip: Path) -> VideoStream:
    """Decode the first frame and see how it is stored. Raises StorageError if it cannot be decoded."""
    command = [
        *reading(clip, verbosity="info"),
        "-map",
        "0:v:0",
        "-vf",
        "showinfo",
        "-frames:v",
        "1",
        "-f",
        "null",
        "-",
    ]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    text = done.stderr.decode("utf-8", "replace")
    shape, matrix = _SHAPE.search(text), _MATRIX.search(text)
    if shape is None:
        raise StorageError(f"The video {clip.name} cannot be read; it may have been moved, deleted or damaged.")
    pixels, above, below, width, height = shape.groups()
    aspect = int(above) / int(below) if int(above) and int(below) else 1.0
    is_named = matrix is not None and matrix[1] not in ("unknown", "reserved")
    is_hd = int(width) >= HD_WIDTH or int(height) > SD_HEIGHT
    assumed = None if is_named or not YUV.match(pixels) else "bt709" if is_hd else "bt601"
    return VideoStream(int(width), int(height), aspect, assumed)
