"""Classify a clip's place by its background's colours at each height."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from wan_pipeline.demo.vocabulary import PLACES

BANDS = 12


def profile(pixels: Tensor, mask: Tensor) -> Tensor:
    """Return the mean background colour in horizontal bands, (N, BANDS, 3), of frames (N, 3, 96, 160) with masks
    (N, 1, 48, 80)."""
    free = (F.interpolate(F.max_pool2d(mask, 5, 1, 2), pixels.shape[-2:]) < 0.2).float()
    free = free + 1e-4  # a band with no background uses the object's pixels
    seen: Tensor = _band_sums(pixels * free) / _band_sums(free)
    return seen.transpose(1, 2)


def _band_sums(values: Tensor) -> Tensor:
    """Sum (N, C, H, W) to (N, C, BANDS)."""
    rows = values.sum(3)
    return rows.view(*rows.shape[:2], BANDS, -1).sum(3)


def place_profiles(pixels: Tensor, mask: Tensor, place: Tensor) -> Tensor:
    """Return the mean profile of each place over many rendered frames, (6, BANDS, 3)."""
    profiles = profile(pixels.float(), mask.float())
    return torch.stack([profiles[place == index].mean(0) for index in range(len(PLACES))])


def place_of(pixels: Tensor, mask: Tensor, known: Tensor) -> int:
    """Return the index of the place whose profile is nearest to the clip's mean profile."""
    seen = profile(pixels, mask).mean(0)
    return int((seen - known).abs().mean((1, 2)).argmin())
