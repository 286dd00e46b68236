"""Where a clip plays: its background's colours by height, against those of the six places."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from wan_pipeline.demo.vocabulary import PLACES

BANDS = 12


def profile(pixels: Tensor, mask: Tensor) -> Tensor:
    """Mean background colour in horizontal bands, (N, BANDS, 3), of frames (N, 3, 96, 160) and masks (N, 1, 48, 80)."""
    free = (F.interpolate(F.max_pool2d(mask, 5, 1, 2), pixels.shape[-2:]) < 0.2).float()
    free = free + 1e-4  # a band that the object fills counts by what is there
    seen: Tensor = _band_sums(pixels * free) / _band_sums(free)
    return seen.transpose(1, 2)


def _band_sums(values: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, C, BANDS)."""
    rows = values.sum(3)
    return rows.view(*rows.shape[:2], BANDS, -1).sum(3)


def place_profiles(pixels: Tensor, mask: Tensor, place: Tensor) -> Tensor:
    """The mean profile of each place over many drawn frames, (6, BANDS, 3)."""
    profiles = profile(pixels.float(), mask.float())
    return torch.stack([profiles[place == index].mean(0) for index in range(len(PLACES))])


def place_of(pixels: Tensor, mask: Tensor, known: Tensor) -> int:
    """Index of the place whose profile is nearest to the clip's, averaged over its frames."""
    seen = profile(pixels, mask).mean(0)
    return int((seen - known).abs().mean((1, 2)).argmin())
