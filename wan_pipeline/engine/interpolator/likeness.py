"""Whether two frames show the same scene: between others nothing can be made."""

from __future__ import annotations

from itertools import product

import torch
from torch.nn import functional

SIDE, WINDOW = 32, 7
"""Both frames are averaged to this many pixels a side, and compared in windows of so many."""
MOVED = (-4, -2, 0, 2, 4)
"""Pixels of these by which the second may be moved, both ways: an eighth of the frame."""
LEAST = 0.4
"""Likeness below which two frames have a cut between them. Measured on stills of 24 of the demo's scenes: pans by up to
a tenth of the width have 0.75 and more, by 15 % 0.46, a zoom by a fifth 0.53; of pairs of different scenes, which share
skies and shapes, 92 % are below."""
LIGHT, CONTRAST = 0.01**2, 0.03**2
"""Wang et al.'s constants for values from 0 to 1."""


def likeness(one: torch.Tensor, other: torch.Tensor) -> float:
    """The structural similarity of two frames (1, 3, h, w) from 0 to 1, as small pictures, where they fit best: 1 if
    they are the same, about 0 if they have nothing to do with each other.
    """
    small, moving = (functional.adaptive_avg_pool2d(frame, SIDE) for frame in (one, other))
    edge, end = max(MOVED), SIDE - max(MOVED)
    places = [moving[:, :, edge + y : end + y, edge + x : end + x] for y, x in product(MOVED, MOVED)]
    middle = small[:, :, edge:end, edge:end].expand(len(places), -1, -1, -1)
    return float(_similarity(middle, torch.cat(places)).max())


def _similarity(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Of pictures (n, 3, h, w), their mean (n,), over square windows.

    Wang et al., "Image Quality Assessment: From Error Visibility to Structural Similarity", 2004, formula 13.
    """
    mean_a, mean_b = _mean(a), _mean(b)
    spread_a, spread_b = _mean(a * a) - mean_a**2, _mean(b * b) - mean_b**2
    shared = _mean(a * b) - mean_a * mean_b
    light = (2 * mean_a * mean_b + LIGHT) / (mean_a**2 + mean_b**2 + LIGHT)
    structure = (2 * shared + CONTRAST) / (spread_a + spread_b + CONTRAST)
    return (light * structure).mean(dim=(1, 2, 3))


def _mean(values: torch.Tensor) -> torch.Tensor:
    return functional.avg_pool2d(values, WINDOW, 1)
