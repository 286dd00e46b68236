"""Similarity of two videos."""

from __future__ import annotations

import math
from itertools import zip_longest
from pathlib import Path

import numpy as np

from wan_pipeline.clips.read import read_frames


def likeness_db(one: Path, other: Path) -> float | None:
    """Peak signal-to-noise ratio over all pixels in dB; infinite if none differs.

    None if size or number of frames differ. Raises StorageError for a file that cannot be decoded.
    """
    error, count = 0.0, 0
    for ours, theirs in zip_longest(read_frames(one), read_frames(other)):
        if ours is None or theirs is None or ours.shape != theirs.shape:
            return None
        error += float(np.square(ours.astype(np.int32) - theirs, dtype=np.int64).sum())
        count += ours.size
    if count == 0:
        return None
    return 10 * math.log10(255**2 * count / error) if error else math.inf
