"""Backward warping: a picture looked up where a flow points."""

from __future__ import annotations

import torch
from torch.nn import functional


def warp(pictures: torch.Tensor, flow: torch.Tensor) -> torch.Tensor:
    """(n, c, h, w) looked up at each pixel's place plus its flow (n, 2, h, w): pixels to the right, then down.

    Between pixels it is bilinear; beyond the edge the edge goes on (RIFE, arXiv 2011.06294, section 3.1).
    """
    height, width = pictures.shape[2:]
    across = torch.arange(width, device=flow.device, dtype=flow.dtype) + flow[:, 0]
    down = torch.arange(height, device=flow.device, dtype=flow.dtype)[:, None] + flow[:, 1]
    places = torch.stack((_share(across, width), _share(down, height)), dim=-1)
    return functional.grid_sample(pictures, places, mode="bilinear", padding_mode="border", align_corners=True)


def _share(pixels: torch.Tensor, length: int) -> torch.Tensor:
    """Places in pixels as grid_sample wants them: -1 at the middle of the first pixel, 1 at that of the last."""
    return pixels * (2 / max(length - 1, 1)) - 1
