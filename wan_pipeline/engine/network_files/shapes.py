"""What may be read off a foreign file's tensors: how many layers it has, and how wide they are."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count, takewhile

import torch

MOST_LAYERS = 64
"""Blocks, or hidden convolutions. Published upscalers have up to 23 and 32, an IFNet has 5."""
MOST_CHANNELS = 512
"""Published upscalers have 64, an IFNet up to 384."""


def count_layers(tensors: Mapping[str, object], name: str) -> int:
    """How many of "name.0", "name.1", ... there are before the first that is missing; `name` has a place for it."""
    return sum(1 for _ in takewhile(tensors.__contains__, map(name.format, count())))


def kernel_shape(tensors: Mapping[str, torch.Tensor], name: str) -> tuple[int, int]:
    """Output and input channels of a convolution; (0, 0) if there is none of this name, or it is too large."""
    kernel = tensors.get(name)
    if kernel is None or kernel.ndim != 4 or not 0 < len(kernel) <= MOST_CHANNELS:
        return 0, 0
    return kernel.shape[0], kernel.shape[1]
