"""Frames of whole numbers through a network, one at a time, in tiles."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray

from wan_pipeline.engine.device.placement import choose_placement, is_out_of_memory
from wan_pipeline.engine.upscaler.files import BUNDLED, upscaler_file
from wan_pipeline.engine.upscaler.network import load_upscaler
from wan_pipeline.errors import GenerationError, ModelError
from wan_pipeline.settings import Settings

LARGEST = 65_535
TILE = 512
"""Pixels along each side that are computed at a time: frames of any size take the memory of one tile."""
HALO = 32
"""Pixels around a tile that are computed with it and dropped. The bundled network looks 17 far, so no seam is left."""
Network = Callable[[torch.Tensor, int], torch.Tensor]
"""(1, 3, h, w) from 0 to 1, and the factor -> (1, 3, h * factor, w * factor)."""


@dataclass(frozen=True)
class FrameUpscaler:
    """Makes frames larger. `method` says by what, for the report."""

    change: Callable[[NDArray[np.uint16]], NDArray[np.uint16]]
    method: str


def frame_upscaler(settings: Settings, factor: int, name: str = "") -> FrameUpscaler:
    """What makes a frame (H, W, 3) of 16 bits `factor` times as wide and high; `name` is that of a file.

    Raises ModelError for a file that cannot be used; what it gives raises GenerationError.
    """
    device = choose_placement(settings.device).device
    file = upscaler_file(settings.upscalers, name)
    network = load_upscaler(device, file)
    method = BUNDLED if file is None else file.stem
    if network.scale < factor:
        raise ModelError(f"{method} enlarges {network.scale} times and not {factor}; choose a smaller factor.")

    def change(frame: NDArray[np.uint16]) -> NDArray[np.uint16]:
        try:
            with torch.inference_mode():
                values = torch.from_numpy(frame.astype(np.float32) / LARGEST).permute(2, 0, 1)[None]
                return _levels(in_tiles(network, values.to(device), factor))
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            raise GenerationError(
                "There is not enough free memory to upscale frames of this size; close what else uses the device."
            ) from error

    return FrameUpscaler(change, method)


def in_tiles(network: Network, frame: torch.Tensor, factor: int, tile: int = TILE, halo: int = HALO) -> torch.Tensor:
    """(1, 3, h, w) -> (1, 3, h * factor, w * factor) on the CPU, computed a tile at a time."""
    height, width = frame.shape[2:]
    large = torch.empty((1, frame.shape[1], height * factor, width * factor))
    for top, bottom in _spans(height, tile):
        for left, right in _spans(width, tile):
            y, x = max(top - halo, 0), max(left - halo, 0)
            part = network(frame[:, :, y : bottom + halo, x : right + halo], factor)
            wanted = part[:, :, (top - y) * factor : (bottom - y) * factor, (left - x) * factor : (right - x) * factor]
            large[:, :, top * factor : bottom * factor, left * factor : right * factor] = wanted.cpu()
    return large


def _spans(length: int, tile: int) -> Iterator[tuple[int, int]]:
    """Equal parts of at most `tile`, as (first, end)."""
    count = -(-length // tile)
    edges = [round(length * number / count) for number in range(count + 1)]
    yield from pairwise(edges)


def _levels(values: torch.Tensor) -> NDArray[np.uint16]:
    levels: NDArray[np.uint16] = values[0].permute(1, 2, 0).mul(LARGEST).round_().numpy().astype(np.uint16)
    return levels
