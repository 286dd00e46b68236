"""WebP pictures of a clip: the poster of a gallery card, and the animated preview."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wan_pipeline.clips.naming import poster_path
from wan_pipeline.clips.read import read_frames
from wan_pipeline.storage.files import whole_file

PREVIEW_MILLISECONDS = 150
"""Duration of each preview frame."""


def write_poster(frames: NDArray[np.uint8], destination: Path) -> None:
    """Write the middle frame of (T, H, W, 3) frames as WebP. Raises StorageError."""
    with whole_file(destination) as part:
        Image.fromarray(frames[len(frames) // 2]).save(part, format="WEBP", quality=88, method=4)


def draw_missing_poster(clip: Path) -> None:
    """Write the poster of a clip that was copied without it, from its first frame. Raises StorageError."""
    if not poster_path(clip).exists():
        for frame in islice(read_frames(clip), 1):
            write_poster(frame[None], poster_path(clip))


def write_preview(frames: NDArray[np.uint8], destination: Path) -> None:
    """Write (T, H, W, 3) frames as a looping animated WebP, replacing the last one. Raises StorageError."""
    first, *rest = [Image.fromarray(frame) for frame in frames]
    with whole_file(destination) as part:
        first.save(
            part,
            format="WEBP",
            save_all=True,
            append_images=rest,
            duration=PREVIEW_MILLISECONDS,
            loop=0,
            quality=70,
            method=0,
        )
