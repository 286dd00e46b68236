"""The judge's two nets, 0.2 million parameters in all: one segments the object, one classifies it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wan_pipeline.demo.vocabulary import OBJECTS

WIDTH, HEIGHT = 160, 96
"""Input size of the nets, half of the demo model's default."""
CROP = 40


def _conv(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1), nn.BatchNorm2d(outputs), nn.SiLU())


class MaskNet(nn.Module):
    """A small U-Net: frames (N, 3, 96, 160) in 0..1 to logits (N, 1, 48, 80) of the object's coverage."""

    def __init__(self) -> None:
        super().__init__()
        self.fine = nn.Sequential(_conv(3, 16, 2), _conv(16, 16))
        self.middle = nn.Sequential(_conv(16, 32, 2), _conv(32, 32))
        self.coarse = nn.Sequential(_conv(32, 48, 2), _conv(48, 48), _conv(48, 48))
        self.up_middle = _conv(48 + 32, 32)
        self.up_fine = _conv(32 + 16, 16)
        self.out = nn.Conv2d(16, 1, 1)

    def forward(self, frames: Tensor) -> Tensor:
        fine = self.fine(frames * 2 - 1)
        middle = self.middle(fine)
        coarse = self.coarse(middle)
        middle = self.up_middle(torch.cat([F.interpolate(coarse, scale_factor=2.0), middle], 1))
        fine = self.up_fine(torch.cat([F.interpolate(middle, scale_factor=2.0), fine], 1))
        logits: Tensor = self.out(fine)
        return logits


class ObjectNet(nn.Module):
    """Crops with their mask (N, 4, 40, 40) to logits (N, 12) of the object's class."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(_conv(4, 24), _conv(24, 32, 2), _conv(32, 64, 2), _conv(64, 96, 2))
        self.out = nn.Linear(96, len(OBJECTS))

    def forward(self, crops: Tensor) -> Tensor:
        features = self.body(crops * 2 - 1)
        logits: Tensor = self.out(features.mean((2, 3)) + features.amax((2, 3)))
        return logits


def crop(frames: Tensor, mask: Tensor, track: Tensor) -> Tensor:
    """Crop the object from each frame and scale it to one size, (N, 4, CROP, CROP): colour and mask.

    `frames` (N, 3, H, W), `mask` (N, 1, h, w), `track` (N, 4) as `track_of` gives it.
    """
    return sample(torch.cat([frames, F.interpolate(mask, frames.shape[-2:], mode="bilinear")], 1), square(), track)


def square() -> Tensor:
    """Return a grid of points, (CROP, CROP, 2), from -2.1 to 2.1 spreads of the object in each direction."""
    line = torch.linspace(-2.1, 2.1, CROP)
    y, x = torch.meshgrid(line, line, indexing="ij")
    return torch.stack([x, y], -1)


def sample(pictures: Tensor, points: Tensor, track: Tensor) -> Tensor:
    """Sample pictures (N, C, H, W) at `points` (h, w, 2), in units of each object's spread around its centre."""
    height, width = pictures.shape[-2:]
    centre, spread = track[:, None, None, :2], track[:, None, None, 2:3].clamp(min=0.03)
    place = (centre + points * spread) * torch.tensor([2 * height / width, 2.0])  # from units of the height to -1..1
    return F.grid_sample(pictures, place, align_corners=False)


def track_of(mask: Tensor) -> Tensor:
    """Return (N, 4): centre x and y, spread (root mean square radius) and area of masks (N, 1, h, w), in units of the
    frame's height."""
    height, width = mask.shape[-2:]
    y = (torch.arange(height) + 0.5 - height / 2).view(-1, 1) / height
    x = (torch.arange(width) + 0.5 - width / 2).view(1, -1) / height
    total = mask.sum((1, 2, 3)).clamp(min=1e-3)
    cx, cy = ((mask[:, 0] * axis).sum((1, 2)) / total for axis in (x, y))
    away = (x - cx.view(-1, 1, 1)) ** 2 + (y - cy.view(-1, 1, 1)) ** 2
    spread = ((mask[:, 0] * away).sum((1, 2)) / total).sqrt()
    return torch.stack([cx, cy, spread, total / (height * height)], 1)
