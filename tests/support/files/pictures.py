"""Pictures to train on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def write_pictures(folder: Path, count: int = 10) -> Path:
    """Images of two shapes, each with a caption."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        noise = np.random.default_rng(number).integers(0, 256, (6, 10, 3), dtype=np.uint8)
        size = (320, 192) if number % 3 else (192, 320)
        Image.fromarray(noise).resize(size).save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text(f"a red ball at night {number}")
    return folder
