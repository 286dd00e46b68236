"""Pictures for tests."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = (64, 48)
"""Of `stripes`."""
RED, GREEN, BLUE = (200, 30, 40), (20, 160, 60), (30, 60, 200)


def write_pictures(folder: Path, count: int = 10) -> Path:
    """Images of two shapes, each with a caption."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        noise = np.random.default_rng(number).integers(0, 256, (6, 10, 3), dtype=np.uint8)
        size = (320, 192) if number % 3 else (192, 320)
        Image.fromarray(noise).resize(size).save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text(f"a red ball at night {number}")
    return folder


def stripes(colours: tuple = (RED, GREEN, BLUE)) -> Image.Image:
    """Vertical stripes of SIZE, wide enough that chroma subsampling leaves their middles alone."""
    image = Image.new("RGB", SIZE)
    width = SIZE[0] // len(colours)
    for number, colour in enumerate(colours):
        image.paste(colour, (number * width, 0, SIZE[0], SIZE[1]))
    return image


def chunk(kind: bytes, data: bytes) -> bytes:
    """Of a PNG file."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
