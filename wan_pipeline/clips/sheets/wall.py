"""A wall of clips as one MP4: all play side by side; a shorter one stays on its last frame."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageOps

from wan_pipeline.clips.encode import encode_frames
from wan_pipeline.clips.read import read_frames
from wan_pipeline.clips.sheets.fonts import font
from wan_pipeline.clips.sheets.page import SMALL, fitted
from wan_pipeline.clips.sheets.sheet import check_count

MAX_CLIPS = 36
MAX_WIDTH, MAX_TILE = 1920, 640
CAPTION = 34
GROUND, INK = "#101014", "#f1f1f4"


def write_wall(clips: Sequence[Path], captions: Sequence[str], fps: int, target: Path, columns: int = 0) -> None:
    """Write the wall at `fps` frames a second. Raises UserError for too many clips, StorageError."""
    check_count(len(clips), MAX_CLIPS)
    columns = columns or math.ceil(math.sqrt(len(clips)))
    ratio = _ratio(clips[0])
    width = min(MAX_WIDTH // columns, MAX_TILE) // 2 * 2
    height = round(width / ratio / 2) * 2
    size = columns * width, math.ceil(len(clips) / columns) * (height + CAPTION)
    ground = _ground(captions, size, columns, (width, height))
    encode_frames(_frames(clips, ground, columns, (width, height), fps), size, fps, target)


def _frames(
    clips: Sequence[Path], ground: NDArray[np.uint8], columns: int, tile: tuple[int, int], fps: int
) -> Iterator[NDArray[np.uint8]]:
    """Whole frames until the longest clip has ended."""
    width, height = tile
    readers = [read_frames(clip, fps) for clip in clips]
    wall, playing = ground.copy(), set(range(len(clips)))
    while playing:
        for number in sorted(playing):
            frame = next(readers[number], None)
            if frame is None:
                playing.discard(number)
                continue
            x, y = number % columns * width, number // columns * (height + CAPTION)
            picture = ImageOps.pad(Image.fromarray(frame), tile, color=GROUND)
            wall[y : y + height, x : x + width] = np.asarray(picture)
        if playing:
            yield wall


def _ground(captions: Sequence[str], size: tuple[int, int], columns: int, tile: tuple[int, int]) -> NDArray[np.uint8]:
    width, height = tile
    page = Image.new("RGB", size, GROUND)
    draw = ImageDraw.Draw(page)
    for number, caption in enumerate(captions):
        x, y = number % columns * width, number // columns * (height + CAPTION)
        face = font(SMALL, caption)
        draw.text((x + 8, y + height + 6), fitted(caption, face, width - 16), INK, face)
    return np.array(page)


def _ratio(clip: Path) -> float:
    height, width = next(read_frames(clip)).shape[:2]
    return float(width / height)
