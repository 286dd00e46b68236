"""The colours of what is restored, kept as they were."""

from __future__ import annotations

import torch
from torch.nn import functional

LEVELS = 5


def with_colors_of(made: torch.Tensor, before: torch.Tensor) -> torch.Tensor:
    """`made` with the low frequencies of `before`, both (n, c, h, w).

    As StableSR does (Wang et al., "Exploiting Diffusion Prior for Real-World Image Super-Resolution", 2023): fine
    detail by the network, the rest, and so the colours, by what it was given.
    """
    return made + _low_frequencies(before - made)


def _low_frequencies(values: torch.Tensor) -> torch.Tensor:
    """By a stationary wavelet transform: a small blur at twice the distance on each level."""
    channels = values.shape[1]
    kernel = torch.tensor([0.25, 0.5, 0.25], dtype=values.dtype, device=values.device).expand(channels, 1, -1)
    for level in range(LEVELS):
        step = 2**level
        values = functional.pad(values, (step, step, step, step), "replicate")
        values = functional.conv2d(values, kernel[:, :, None], dilation=(1, step), groups=channels)
        values = functional.conv2d(values, kernel[:, :, :, None], dilation=(step, 1), groups=channels)
    return values
