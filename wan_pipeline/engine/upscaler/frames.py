"""Frames of whole numbers through a network, one at a time, in tiles."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import torch

from wan_pipeline.engine.device.placement import choose_placement, telling_shortage
from wan_pipeline.engine.network_files.levels import Levels, levels_of, values_of
from wan_pipeline.engine.upscaler.files import BUNDLED
from wan_pipeline.engine.upscaler.network import Upscaler, load_upscaler
from wan_pipeline.errors import ModelError
from wan_pipeline.settings import Settings

TILE = 512
"""Pixels along each side that are computed at a time: frames of any size take the memory of one tile."""
HALO = 32
"""Pixels around a tile that are computed with it and dropped. The bundled network looks 17 far, so no seam is left."""
SHORTAGE = "There is not enough free memory to upscale frames of this size; close what else uses the device."
Network = Callable[[torch.Tensor, int], torch.Tensor]
"""(1, 3, h, w) from 0 to 1, and the factor -> (1, 3, h * factor, w * factor)."""
Tick = Callable[[float], None]
"""Told of work that was done, in frames and parts of them. It may raise to end the work."""


class FrameUpscaler:
    """Makes frames larger, each by itself."""

    fills_device = False

    def __init__(self, network: Upscaler, device: torch.device, factor: int, method: str, tick: Tick) -> None:
        self._network, self._device, self._factor, self._tick = network, device, factor, tick
        self.method = method
        """By what, for the report."""

    def add(self, frame: Levels) -> Iterator[Levels]:
        """The frame, `factor` times as wide and high. Raises GenerationError."""
        yield self.change(frame)
        self._tick(1)

    def end(self) -> Iterator[Levels]:
        """Nothing is left."""
        yield from ()

    def change(self, frame: Levels) -> Levels:
        """Raises GenerationError."""
        with telling_shortage(SHORTAGE), torch.inference_mode():
            return levels_of(in_tiles(self._network, values_of(frame).to(self._device), self._factor))


def frame_upscaler(
    settings: Settings, factor: int, file: Path | None = None, tick: Tick = lambda _: None
) -> FrameUpscaler:
    """By the network of a file, or the one that comes with the studio. Raises ModelError."""
    device = choose_placement(settings.device).device
    network = load_upscaler(device, file)
    method = BUNDLED if file is None else file.stem
    if network.scale < factor:
        raise ModelError(f"{method} enlarges {network.scale} times and not {factor}; choose a smaller factor.")
    return FrameUpscaler(network, device, factor, method, tick)


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
