"""Frames of whole numbers between two others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from wan_pipeline.engine.device.deterministic import deterministic
from wan_pipeline.engine.device.placement import choose_placement, telling_shortage
from wan_pipeline.engine.interpolator.likeness import LEAST, likeness
from wan_pipeline.engine.interpolator.network import Interpolator, load_interpolator
from wan_pipeline.engine.network_files.levels import Levels, levels_of, values_of
from wan_pipeline.settings import Settings

SHORTAGE = (
    "There is not enough free memory to make frames of this size in between; close what else uses the device, "
    "or smooth the clip by ffmpeg."
)


class FrameInterpolator:
    """Makes frames in between, the same on every run: without TF32, by algorithms that repeat their bits."""

    def __init__(self, network: Interpolator, device: torch.device, method: str) -> None:
        self._network, self._device = network, device
        self.method = method
        """By what, for the report."""
        self.cuts = 0
        """Pairs so far that were nothing alike, between which the nearer one was held."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is to be said of the frames that were made."""
        told = f"Cuts found: {self.cuts}. Where two frames are nothing alike, the nearer one is held between them."
        return (told,) if self.cuts else ()

    def between(self, before: Levels, after: Levels, factor: int) -> list[Levels]:
        """The `factor` - 1 frames between two of the same size, at equal distances. Raises GenerationError."""
        moments = [number / factor for number in range(1, factor)]
        if np.array_equal(before, after):
            return [before] * len(moments)
        one, other = values_of(before), values_of(after)
        if likeness(one, other) < LEAST:
            self.cuts += 1
            return [before if moment <= 0.5 else after for moment in moments]
        with telling_shortage(SHORTAGE), deterministic(None), torch.inference_mode():
            one, other = one.to(self._device), other.to(self._device)
            return [levels_of(self._network(one, other, moment)) for moment in moments]


def frame_interpolator(settings: Settings, file: Path) -> FrameInterpolator:
    """By the network of a file, on the device of the settings. Raises ModelError."""
    device = choose_placement(settings.device).device
    with telling_shortage(SHORTAGE):
        return FrameInterpolator(load_interpolator(device, file), device, file.stem)
