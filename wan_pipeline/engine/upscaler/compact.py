"""Real-ESRGAN's small network, SRVGGNetCompact: convolutions at the frame's own size, then a pixel shuffle.

Wang et al., "Real-ESRGAN: Training Real-World Blind Super-Resolution with Pure Synthetic Data", 2021.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import torch
from torch.nn import functional

from wan_pipeline.engine.network_files.shapes import MOST_LAYERS, count_layers, kernel_shape

SCALES = (1, 2, 3, 4)


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
    """The network that a file's tensors may fit, on the meta device; None if they are of another kind."""
    layers = count_layers(tensors, "body.{}.weight")  # a convolution, then an activation and a convolution, and so on
    hidden = layers // 2 - 1
    if layers % 2 == 0 or not 0 <= hidden <= MOST_LAYERS:
        return None
    channels, _ = kernel_shape(tensors, "body.0.weight")
    outputs, _ = kernel_shape(tensors, f"body.{layers - 1}.weight")
    scale = next((scale for scale in SCALES if 3 * scale**2 == outputs), None)
    if not channels or scale is None:
        return None
    with torch.device("meta"):
        return Compact(channels, hidden, scale)
