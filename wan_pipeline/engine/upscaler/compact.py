"""Real-ESRGAN's small network, SRVGGNetCompact: convolutions at the frame's own size, then a pixel shuffle.

Wang et al., "Real-ESRGAN: Training Real-World Blind Super-Resolution with Pure Synthetic Data", 2021.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise

import torch
from torch.nn import functional


class Compact(torch.nn.Module):
    """Enlarges frames (n, 3, h, w) by `scale`. Its tensors have the names of published files: `body.0.weight`."""

    def __init__(self, channels: int, hidden_layers: int, scale: int) -> None:
        super().__init__()
        self.scale = scale
        widths = [3, *[channels] * (hidden_layers + 1), 3 * scale**2]
        layers: list[torch.nn.Module] = []
        for before, after in pairwise(widths):
            layers += [torch.nn.Conv2d(before, after, 3, padding=1), torch.nn.PReLU(after)]
        self.body = torch.nn.Sequential(*layers[:-1])  # the last convolution has no activation

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        detail = functional.pixel_shuffle(self.body(frames), self.scale)
        return detail + functional.interpolate(frames, scale_factor=self.scale, mode="nearest")


def compact_of(tensors: Mapping[str, torch.Tensor]) -> Compact | None:
    """The empty network that a file's tensors fit; None if they are of another kind."""
    numbers = [int(found[1]) for name in tensors if (found := re.fullmatch(r"body\.(\d+)\.weight", name))]
    if not numbers or max(numbers) < 2 or tensors["body.0.weight"].ndim != 4:
        return None
    scale = round((len(tensors[f"body.{max(numbers)}.weight"]) / 3) ** 0.5)
    return Compact(len(tensors["body.0.weight"]), max(numbers) // 2 - 1, scale)
