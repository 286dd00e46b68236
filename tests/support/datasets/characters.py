"""How much of what moves in a clip has the colours of the brown ball with a cream belt."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.characters import BROWN, CREAM

MOVED, NEAR = 40, 55
"""In RGB of 0 to 255: what differs more than the first from the clip's median is the object; what is nearer than the
second to a shade of one of its colours has that colour."""
SHADES = (0.75, 0.9, 1.0, 1.1)


def own_colors(frames: NDArray[np.uint8]) -> float:
    """The share of the moving object's pixels that have the character's colours, of frames (frames, height, width, 3).

    The object is what differs from the background, the median over time; 0 where nothing moves.
    """
    shown = frames.astype(np.float64)
    moved = np.abs(shown - np.median(shown, axis=0)).max(axis=-1) > MOVED
    pixels = shown[moved]
    if not len(pixels):
        return 0.0
    shades = np.array([np.minimum(np.array(color) * shade, 255) for color in (BROWN, CREAM) for shade in SHADES])
    nearest = np.linalg.norm(pixels[:, None] - shades[None], axis=-1).min(axis=1)
    return float((nearest < NEAR).mean())
