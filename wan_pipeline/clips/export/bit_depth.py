"""Decoded frames as whole numbers. `frames` are float32 from -1 (black) to 1 (white)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

STEP = 257
"""65,535 / 255: 16-bit levels in one 8-bit level."""


def eight_bits(frames: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The levels of the clip itself: the arithmetic, in float32, is that of `engine.decoding.decode`."""
    levels: NDArray[np.float32] = np.rint((frames + np.float32(1)) * np.float32(127.5))
    return levels.clip(0, 255).astype(np.uint8)


def sixteen_bits(frames: NDArray[np.float32]) -> NDArray[np.uint16]:
    """The nearest of 65,536 levels that rounds to the clip's own level of 8 bits.

    Rounded twice, a value near the middle of two 8-bit levels could end at the other one; here it stays within half a
    step of its own, which moves it by one level of 16 bits at most.
    """
    middle = eight_bits(frames).astype(np.int32) * STEP
    nearest = np.rint((frames.astype(np.float64) + 1) * 32_767.5).astype(np.int32)
    return np.clip(nearest, middle - STEP // 2, middle + STEP // 2).clip(0, 65_535).astype(np.uint16)


def rounded(levels: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """16 bits to 8. No level is exactly between two, as STEP is odd."""
    return ((levels.astype(np.uint32) + STEP // 2) // STEP).astype(np.uint8)


def widened(levels: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """8 bits as 16: black stays black and white stays white. It adds no levels."""
    return levels.astype(np.uint16) * np.uint16(STEP)
