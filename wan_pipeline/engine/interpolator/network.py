"""Networks that make frames in between, of people's files."""

from __future__ import annotations

from pathlib import Path

import torch
from torch.nn import functional

from wan_pipeline.engine.interpolator.ifnet import IFNet
from wan_pipeline.engine.interpolator.variants import for_use, ifnet_of
from wan_pipeline.engine.network_files.tensors import fill, read_tensors
from wan_pipeline.errors import ModelError


class Interpolator(torch.nn.Module):
    """Takes frames of any size: they are continued to the right and below to what the network needs."""

    def __init__(self, network: IFNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, before: torch.Tensor, after: torch.Tensor, moment: float) -> torch.Tensor:
        """Two frames (n, 3, h, w) from 0 to 1, and a moment between 0 and 1 -> (n, 3, h, w), the frame there."""
        height, width = before.shape[2:]
        multiple = self.network.shape.multiple
        more = (0, -width % multiple, 0, -height % multiple)
        frames = (functional.pad(frame, more, "replicate") for frame in (before, after))
        made: torch.Tensor = self.network(*frames, moment)
        return made[:, :, :height, :width].clamp(0, 1)


def load_interpolator(device: torch.device, file: Path) -> Interpolator:
    """The network of a safetensors file, ready to compute on the device in float32. Raises ModelError."""
    tensors = for_use(read_tensors(file))
    network = ifnet_of(tensors)
    if network is None:
        raise ModelError(f"{file.name} holds no network that is known here; use an IFNet of RIFE 4.5 to 4.26.")
    fill(network, tensors, file)
    return Interpolator(network).to(device).eval()
