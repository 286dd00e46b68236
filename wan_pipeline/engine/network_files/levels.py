"""Frames of whole numbers as a network's values, and back."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

Levels = NDArray[np.uint16]
"""(H, W, 3), 16 bits."""
LARGEST = 65_535


def values_of(frame: Levels) -> torch.Tensor:
    """(H, W, 3) levels -> (1, 3, H, W), float32 from 0 to 1, on the CPU."""
    return torch.from_numpy(frame.astype(np.float32) / LARGEST).permute(2, 0, 1)[None]


def levels_of(values: torch.Tensor) -> Levels:
    """(1, 3, H, W) from 0 to 1 -> (H, W, 3) levels."""
    levels: Levels = values[0].permute(1, 2, 0).mul(LARGEST).round_().cpu().numpy().astype(np.uint16)
    return levels
