"""A style that a test can measure: how far pixels are from the shades between two colours."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.styles import DUSK

DARK, LIGHT = (np.array(color, np.float64) for color in DUSK)


def distance(frames: NDArray[np.uint8]) -> float:
    """Mean distance in RGB of pixels (..., 3) from the line between the two colours."""
    axis = (LIGHT - DARK) / np.linalg.norm(LIGHT - DARK)
    from_dark = frames.astype(np.float64) - DARK
    along = (from_dark @ axis)[..., None] * axis
    return float(np.linalg.norm(from_dark - along, axis=-1).mean())


def motion(frames: NDArray[np.uint8]) -> float:
    """Mean squared difference between one frame and the next, of pixels (frames, height, width, 3)."""
    return float(np.square(np.diff(frames.astype(np.float64), axis=0)).mean())
