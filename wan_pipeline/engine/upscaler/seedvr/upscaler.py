"""SeedVR2 as what makes a clip's frames larger."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from wan_pipeline.engine.device.deterministic import deterministic
from wan_pipeline.engine.device.placement import choose_placement, limit_memory, release_memory, telling_shortage
from wan_pipeline.engine.network_files.levels import Levels, levels_of, values_of
from wan_pipeline.engine.upscaler.seedvr.files import load_text, load_transformer, load_vae
from wan_pipeline.engine.upscaler.seedvr.pieces import Pieces
from wan_pipeline.engine.upscaler.seedvr.restore import Restorer, piece_length
from wan_pipeline.settings import Settings

SHORTAGE = (
    "There is not enough free memory to upscale frames of this size by SeedVR2; close what else uses the device, or "
    "choose a smaller factor or another upscaler."
)


class SeedVRUpscaler:
    """Makes the frames of one clip larger, piece by piece, the same on every run on one machine."""

    fills_device = True

    def __init__(self, restorer: Restorer, factor: int, method: str, tick: Callable[[float], None]) -> None:
        self._restorer, self._factor, self._tick = restorer, factor, tick
        self.method = method
        """By what, for the report."""
        self._pieces: Pieces | None = None
        """From the first frame on, whose size says how long pieces are."""

    def add(self, frame: Levels) -> Iterator[Levels]:
        """Take a frame; the larger frames of a piece that ends with it. Raises GenerationError."""
        if self._pieces is None:
            height, width = (side * self._factor for side in frame.shape[:2])
            self._pieces = Pieces(self._make, piece_length(height, width))
        yield from self._pieces.add(frame)

    def end(self) -> Iterator[Levels]:
        """The larger frames that are left. Raises GenerationError."""
        if self._pieces is not None:
            yield from self._pieces.end()

    def _make(self, frames: list[Levels], first: int, new: int) -> Iterator[Levels]:
        given = torch.cat([values_of(frame).half() for frame in frames])
        made = self._restorer.restore(given, first, self._factor, lambda share: self._tick(share * new))
        while True:  # whoever takes the frames does not compute in these modes
            with telling_shortage(SHORTAGE), deterministic(None), torch.inference_mode():
                levels = next(map(levels_of, made), None)
            if levels is None:
                return
            yield levels


def seedvr_upscaler(settings: Settings, factor: int, folder: Path, tick: Callable[[float], None]) -> SeedVRUpscaler:
    """By the two files of a folder, on the device of the settings. Raises ModelError."""
    place = choose_placement(settings.device)
    release_memory(place)
    limit_memory(place, settings.memory_limit)
    with telling_shortage(SHORTAGE):
        restorer = Restorer(load_transformer(folder, place.dtype), load_vae(folder, place.dtype), load_text(), place)
    return SeedVRUpscaler(restorer, factor, folder.name, tick)
