"""The network "realesr-animevideov3" of Real-ESRGAN: 18 convolutions at the frame's own size, then a pixel shuffle.

Wang et al., "Real-ESRGAN: Training Real-World Blind Super-Resolution with Pure Synthetic Data", 2021. It was trained
for drawn films; of photographic pictures it keeps edges and smooths grain.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from wan_pipeline.engine.upscaler.files import BUNDLED

WEIGHTS = Path(__file__).parent / "weights" / f"{BUNDLED}.bin"
SCALE = 4
"""What the network enlarges by; smaller factors are scaled down from it."""
CHANNELS, HIDDEN_LAYERS = 64, 16
_HALF_FLAG = 0x01306B47
"""By which ncnn marks weights stored in half precision; biases and slopes are stored in single precision, unmarked."""


class Upscaler(torch.nn.Module):
    """Enlarges frames by 2, 3 or 4."""

    def __init__(self) -> None:
        super().__init__()
        widths = [3, *[CHANNELS] * (HIDDEN_LAYERS + 1), 3 * SCALE**2]
        layers: list[torch.nn.Module] = []
        for before, after in pairwise(widths):
            layers += [torch.nn.Conv2d(before, after, 3, padding=1), torch.nn.PReLU(after)]
        self.layers = torch.nn.Sequential(*layers[:-1])  # the last convolution has no activation

    def forward(self, frames: torch.Tensor, factor: int) -> torch.Tensor:
        """(n, 3, h, w) from 0 to 1 -> (n, 3, h * factor, w * factor)."""
        detail = functional.pixel_shuffle(self.layers(frames), SCALE)
        large = detail + functional.interpolate(frames, scale_factor=SCALE, mode="nearest")
        return resized(large, frames, factor).clamp(0, 1)


def resized(large: torch.Tensor, frames: torch.Tensor, factor: int) -> torch.Tensor:
    """What a network made of frames (n, 3, h, w), brought to `factor` times their size by a bicubic filter."""
    size = (frames.shape[2] * factor, frames.shape[3] * factor)
    if tuple(large.shape[2:]) == size:
        return large
    return functional.interpolate(large, size, mode="bicubic", antialias=True)


def load_upscaler(device: torch.device) -> Upscaler:
    """The network with its weights, ready to compute on the device."""
    network, content, at = Upscaler(), np.frombuffer(WEIGHTS.read_bytes(), np.uint8), 0
    for parameter in network.parameters():  # in the file's order: weights and biases of a convolution, then slopes
        if parameter.ndim == 4:
            flag = int(content[at : at + 4].view("<u4")[0])
            if flag != _HALF_FLAG:
                raise ValueError(f"{WEIGHTS.name} holds {flag:#x} where a convolution should begin")
            at = _fill(parameter, content, at + 4, "<f2")
        else:
            at = _fill(parameter, content, at, "<f4")
    return network.to(device).eval()


def _fill(parameter: torch.Tensor, content: np.ndarray, at: int, kind: str) -> int:
    """Copy a parameter from the file's bytes, and return where the next one begins."""
    end = at + parameter.numel() * np.dtype(kind).itemsize
    values = torch.from_numpy(content[at:end].view(kind).astype(np.float32))
    with torch.no_grad():
        parameter.copy_(values.view(parameter.shape))
    return -(-end // 4) * 4
