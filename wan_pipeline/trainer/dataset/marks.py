"""What can be measured of a picture before training: whether it is blurred, and whether it is one that was there."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

BLURRED = 0.62
"""A blur above this is pointed out: the measure gives about 0.3 for a sharp photograph, 0.7 for one out of focus."""
BLUR_SIDE = 512
"""Pixels of the longer side at which blur is measured, since a picture is trained at about this size."""
HASH_SIDE = 16
SIMILAR_BITS = 6
"""Of the 256 bits of a difference hash, how many may differ between two versions of one picture."""

_BOX = 11
"""Pixels of the filter of the blur measure, as in scikit-image."""


def difference_hash(image: Image.Image) -> NDArray[np.uint8]:
    """32 bytes, of which versions of one picture that were scaled or compressed again differ in few bits.

    Each bit tells whether a pixel of the picture at 16 x 17 pixels is brighter than its right neighbour.
    """
    grey = np.asarray(image.convert("L").resize((HASH_SIDE + 1, HASH_SIDE), Image.Resampling.BOX), np.int16)
    return np.packbits(grey[:, 1:] > grey[:, :-1])


def blur(image: Image.Image) -> float:
    """How little a picture loses by one more blur: 0 sharp to 1 blurred.

    The measure of Crete et al., "The blur effect" (SPIE 2007): of the differences between neighbours, the share that
    a box filter leaves, in the direction where more is left.
    """
    small = image.convert("L")
    small.thumbnail((BLUR_SIDE, BLUR_SIDE))
    grey = np.asarray(small, np.float64) / 255
    return max(_blur_along(grey), _blur_along(grey.T))


def _blur_along(grey: NDArray[np.float64]) -> float:
    padded = np.pad(grey, ((_BOX // 2, _BOX // 2), (0, 0)), mode="edge")
    sums = np.cumsum(np.pad(padded, ((1, 0), (0, 0))), axis=0, dtype=np.float64)
    softened = (sums[_BOX:] - sums[:-_BOX]) / _BOX
    sharp = np.abs(np.diff(grey, axis=0))
    lost = np.maximum(0, sharp - np.abs(np.diff(softened, axis=0)))
    total = float(sharp.sum())
    return (total - float(lost.sum())) / total if total > 0 else 0.0


def similar_pairs(hashes: list[NDArray[np.uint8]]) -> dict[int, int]:
    """Of each picture that is nearly one before it: its index, and that of the first such one."""
    if not hashes:
        return {}
    table = np.stack(hashes)
    found = {}
    for index in range(1, len(table)):
        bits = np.bitwise_count(table[:index] ^ table[index]).sum(axis=1)
        if int(bits.min()) <= SIMILAR_BITS:
            found[index] = int(bits.argmin())
    return found
