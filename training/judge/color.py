"""Classify an object's colour: each of its pixels votes for the nearest palette colour in light or shade."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from wan_pipeline.demo.vocabulary import COLORS, PALETTE

INSIDE = 0.8
"""Coverage above which a pixel is counted as the object's and not as a blend with the background."""


def shades() -> Tensor:
    """Return each palette colour from shade to light, (8, S, 3): rendered objects have darker rims, lighter bands."""
    palette = torch.tensor([PALETTE[name] for name in COLORS]).unsqueeze(1)
    dark = palette * torch.linspace(0.6, 1.0, 9).view(1, -1, 1)
    light = palette + (1 - palette) * torch.linspace(0.05, 0.45, 9).view(1, -1, 1)
    return torch.cat([dark, light], 1)


def color_of(pixels: Tensor, mask: Tensor) -> int | None:
    """Return the index of the colour that most pixels of frames (T, 3, H, W) under masks (T, 1, h, w) vote for, or None
    if no pixel is covered."""
    cover = F.interpolate(mask, pixels.shape[-2:], mode="bilinear")[:, 0]
    body = pixels.permute(0, 2, 3, 1)[cover > INSIDE]
    if not len(body):
        return None
    sample = body[:: max(1, len(body) // 4000)]
    distance = torch.cdist(sample, shades().flatten(0, 1)).view(len(sample), len(COLORS), -1).amin(2)
    return int(distance.argmin(1).bincount(minlength=len(COLORS)).argmax())
