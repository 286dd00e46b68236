"""Which of the eight palette colours an object has: each of its pixels votes for the nearest colour, shaded or lit."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from wan_pipeline.demo.vocabulary import COLORS, PALETTE

INSIDE = 0.8
"""Coverage above which a pixel is the object's own and not a blend with what is behind it."""


def shades() -> Tensor:
    """Each palette colour in light and shadow, (8, S, 3): the drawn bodies' rims are darker, their bands lighter."""
    palette = torch.tensor([PALETTE[name] for name in COLORS]).unsqueeze(1)
    dark = palette * torch.linspace(0.6, 1.0, 9).view(1, -1, 1)
    light = palette + (1 - palette) * torch.linspace(0.05, 0.45, 9).view(1, -1, 1)
    return torch.cat([dark, light], 1)


def color_of(pixels: Tensor, mask: Tensor) -> int | None:
    """Index of the colour most pixels of frames (T, 3, H, W) under masks (T, 1, h, w) vote for; None without any."""
    cover = F.interpolate(mask, pixels.shape[-2:], mode="bilinear")[:, 0]
    body = pixels.permute(0, 2, 3, 1)[cover > INSIDE]
    if not len(body):
        return None
    sample = body[:: max(1, len(body) // 4000)]
    distance = torch.cdist(sample, shades().flatten(0, 1)).view(len(sample), len(COLORS), -1).amin(2)
    return int(distance.argmin(1).bincount(minlength=len(COLORS)).argmax())
