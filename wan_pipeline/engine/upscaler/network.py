"""Networks that enlarge frames: the one that comes with the studio, and those of people's files.

The studio's own is "realesr-animevideov3" of Real-ESRGAN. It was trained for drawn films; of photographic pictures it
keeps edges and smooths grain.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from wan_pipeline.engine.network_files.tensors import fill, read_tensors
from wan_pipeline.engine.upscaler.compact import Compact, compact_of
from wan_pipeline.engine.upscaler.files import BUNDLED
from wan_pipeline.engine.upscaler.rrdb import RRDBNet, new_names, rrdb_of
from wan_pipeline.errors import ModelError

WEIGHTS = Path(__file__).parent / "weights" / f"{BUNDLED}.bin"
_HALF_FLAG = 0x01306B47
"""Tag by which ncnn marks weights stored in half precision; biases and slopes are in single precision, unmarked."""


class Upscaler(torch.nn.Module):
    """Enlarges frames by any factor up to the network's own; smaller ones are scaled down from it."""

    def __init__(self, network: Compact | RRDBNet) -> None:
        super().__init__()
        self.network = network

    @property
    def scale(self) -> int:
        """What the network itself enlarges by."""
        return self.network.scale

    def forward(self, frames: torch.Tensor, factor: int) -> torch.Tensor:
        """(n, 3, h, w) from 0 to 1 -> (n, 3, h * factor, w * factor)."""
        large: torch.Tensor = self.network(frames)
        if factor != self.scale:
            size = (frames.shape[2] * factor, frames.shape[3] * factor)
            large = functional.interpolate(large, size, mode="bicubic", antialias=True)
        return large.clamp(0, 1)


def load_upscaler(device: torch.device, file: Path | None = None) -> Upscaler:
    """The studio's own network, or that of a safetensors file, ready to compute on the device. Raises ModelError."""
    network = _bundled() if file is None else _foreign(file)
    return Upscaler(network).to(device).eval()


def _foreign(file: Path) -> Compact | RRDBNet:
    """The network of a file, whose kind and size its tensors tell."""
    tensors = new_names(read_tensors(file))
    network = rrdb_of(tensors) or compact_of(tensors)
    if network is None:
        raise ModelError(
            f"{file.name} holds no network that is known here; use an ESRGAN that enlarges 4 times, a Real-ESRGAN or "
            "one of its small kind."
        )
    fill(network, tensors, file)
    return network


def _bundled() -> Compact:
    network, content, at = Compact(64, 16, 4), np.frombuffer(WEIGHTS.read_bytes(), np.uint8), 0
    for parameter in network.parameters():  # in the file's order: weights and biases of a convolution, then slopes
        if parameter.ndim == 4:
            flag = int(content[at : at + 4].view("<u4")[0])
            if flag != _HALF_FLAG:
                raise ValueError(f"{WEIGHTS.name} holds {flag:#x} where a convolution should begin")
            at = _fill(parameter, content, at + 4, "<f2")
        else:
            at = _fill(parameter, content, at, "<f4")
    return network


def _fill(parameter: torch.Tensor, content: np.ndarray, at: int, kind: str) -> int:
    """Copy a parameter from the file's bytes, and return where the next one begins."""
    end = at + parameter.numel() * np.dtype(kind).itemsize
    values = torch.from_numpy(content[at:end].view(kind).astype(np.float32))
    with torch.no_grad():
        parameter.copy_(values.view(parameter.shape))
    return -(-end // 4) * 4
