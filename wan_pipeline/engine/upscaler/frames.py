"""Frames of whole numbers through a network, one at a time, in tiles."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch

from wan_pipeline.engine.device.placement import choose_placement, telling_shortage
from wan_pipeline.engine.network_files.levels import Levels, levels_of, values_of
from wan_pipeline.engine.upscaler.files import BUNDLED, upscalers_in
from wan_pipeline.engine.upscaler.network import load_upscaler
from wan_pipeline.errors import ModelError
from wan_pipeline.settings import Settings

TILE = 512
"""Pixels along each side that are computed at a time: frames of any size take the memory of one tile."""
HALO = 32
"""Pixels around a tile that are computed with it and dropped. The bundled network looks 17 far, so no seam is left."""
SHORTAGE = "There is not enough free memory to upscale frames of this size; close what else uses the device."
Network = Callable[[torch.Tensor, int], torch.Tensor]
"""(1, 3, h, w) from 0 to 1, and the factor -> (1, 3, h * factor, w * factor)."""


@dataclass(frozen=True)
class FrameUpscaler:
    """Makes frames larger. `method` says by what, for the report."""

    change: Callable[[Levels], Levels]
    method: str


def frame_upscaler(settings: Settings, factor: int, name: str = "") -> FrameUpscaler:
    """What makes a frame (H, W, 3) of 16 bits `factor` times as wide and high; `name` is that of a file.

    Raises ModelError for a file that cannot be used; what it gives raises GenerationError.
    """
    device = choose_placement(settings.device).device
    file = upscalers_in(settings.upscalers).find(name)
    network = load_upscaler(device, file)
    method = BUNDLED if file is None else file.stem
    if network.scale < factor:
        raise ModelError(f"{method} enlarges {network.scale} times and not {factor}; choose a smaller factor.")

    def change(frame: Levels) -> Levels:
        with telling_shortage(SHORTAGE), torch.inference_mode():
            return levels_of(in_tiles(network, values_of(frame).to(device), factor))

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
