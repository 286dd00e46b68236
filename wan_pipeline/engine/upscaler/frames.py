"""Frames of whole numbers through the network, one at a time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from wan_pipeline.engine.device.placement import choose_placement, is_out_of_memory
from wan_pipeline.engine.upscaler.network import load_upscaler
from wan_pipeline.errors import GenerationError
from wan_pipeline.settings import Settings

LARGEST = 65_535


def frame_upscaler(settings: Settings, factor: int) -> Callable[[NDArray[np.uint16]], NDArray[np.uint16]]:
    """Gives what makes a frame (H, W, 3) of 16 bits `factor` times as wide and high. It raises GenerationError."""
    device = choose_placement(settings.device).device
    network = load_upscaler(device)

    def upscale(frame: NDArray[np.uint16]) -> NDArray[np.uint16]:
        try:
            with torch.inference_mode():
                values = torch.from_numpy(frame.astype(np.float32) / LARGEST).permute(2, 0, 1)[None].to(device)
                large = network(values, factor)[0].permute(1, 2, 0).mul_(LARGEST).round_()
                levels: NDArray[np.uint16] = large.cpu().numpy().astype(np.uint16)
                return levels
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            raise GenerationError(
                "There is not enough free memory to upscale frames of this size; close what else uses the device."
            ) from error

    return upscale
