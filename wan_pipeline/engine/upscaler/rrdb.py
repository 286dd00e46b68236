"""ESRGAN's network, RRDBNet: dense blocks within residuals, then two doublings.

Wang et al., "ESRGAN: Enhanced Super-Resolution Generative Adversarial Networks", 2018. Real-ESRGAN (2021) puts a pixel
unshuffle before it for smaller factors.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch.nn import functional

from wan_pipeline.engine.network_files.shapes import MOST_LAYERS, count_layers, kernel_shape

RESIDUAL = 0.2
"""Share of a block's output that is added to its input (ESRGAN, section 3.1)."""
SLOPE = 0.2
"""Of the leaky rectifiers."""
LARGEST = 4
"""What the two doublings make."""
OLD_NAMES = {"0": "conv_first", "3": "conv_up1", "6": "conv_up2", "8": "conv_hr", "10": "conv_last"}
"""Convolutions outside the blocks, by their numbers in ESRGAN's first files for 4 times; others have other numbers."""


class DenseBlock(torch.nn.Module):
    """Five convolutions, each of which sees what all before it gave."""

    def __init__(self, channels: int, growth: int) -> None:
        super().__init__()
        inputs = [channels + number * growth for number in range(5)]
        self.conv1, self.conv2, self.conv3, self.conv4 = (_convolution(count, growth) for count in inputs[:4])
        self.conv5 = _convolution(inputs[4], channels)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        seen = [values]
        for convolution in (self.conv1, self.conv2, self.conv3, self.conv4):
            seen.append(functional.leaky_relu(convolution(torch.cat(seen, 1)), SLOPE))
        return torch.add(values, self.conv5(torch.cat(seen, 1)), alpha=RESIDUAL)


class ResidualBlock(torch.nn.Module):
    """Three dense blocks."""

    def __init__(self, channels: int, growth: int) -> None:
        super().__init__()
        self.rdb1, self.rdb2, self.rdb3 = (DenseBlock(channels, growth) for _ in range(3))

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return torch.add(values, self.rdb3(self.rdb2(self.rdb1(values))), alpha=RESIDUAL)


class RRDBNet(torch.nn.Module):
    """Enlarges frames (n, 3, h, w) by `scale`: 4, or 2 or 1 with a pixel unshuffle before it."""

    def __init__(self, channels: int, growth: int, blocks: int, scale: int) -> None:
        super().__init__()
        self.scale = scale
        self.conv_first = _convolution(3 * (LARGEST // scale) ** 2, channels)
        self.body = torch.nn.Sequential(*(ResidualBlock(channels, growth) for _ in range(blocks)))
        self.conv_body, self.conv_up1, self.conv_up2, self.conv_hr = (
            _convolution(channels, channels) for _ in range(4)
        )
        self.conv_last = _convolution(channels, 3)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        height, width = frames.shape[2:]
        step = LARGEST // self.scale
        padded = functional.pad(frames, (0, -width % step, 0, -height % step), "replicate")
        first = self.conv_first(functional.pixel_unshuffle(padded, step))
        values = first + self.conv_body(self.body(first))
        for double in (self.conv_up1, self.conv_up2):
            values = functional.leaky_relu(double(functional.interpolate(values, scale_factor=2)), SLOPE)
        large: torch.Tensor = self.conv_last(functional.leaky_relu(self.conv_hr(values), SLOPE))
        return large[:, :, : height * self.scale, : width * self.scale]


def _convolution(inputs: int, outputs: int) -> torch.nn.Conv2d:
    return torch.nn.Conv2d(inputs, outputs, 3, padding=1)


def new_names(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors of one of ESRGAN's first files by the names that Real-ESRGAN gave them; others as they are."""
    return {_new_name(name): value for name, value in tensors.items()}


def rrdb_of(tensors: Mapping[str, torch.Tensor]) -> RRDBNet | None:
    """The network that a file's tensors may fit, by their new names, on the meta device; None if they are of another
    kind.
    """
    blocks = count_layers(tensors, "body.{}.rdb1.conv1.weight")
    channels, inputs = kernel_shape(tensors, "conv_first.weight")
    growth, _ = kernel_shape(tensors, "body.0.rdb1.conv1.weight")
    scale = {3 * (LARGEST // scale) ** 2: scale for scale in (1, 2, 4)}.get(inputs)
    if not growth or scale is None or blocks > MOST_LAYERS:
        return None
    if any(f"{name}.weight" not in tensors for name in OLD_NAMES.values()):
        return None
    with torch.device("meta"):
        return RRDBNet(channels, growth, blocks, scale)


def _new_name(name: str) -> str:
    if found := re.fullmatch(r"model\.1\.sub\.(\d+)\.RDB(\d)\.conv(\d)\.0\.(weight|bias)", name):
        return f"body.{found[1]}.rdb{found[2]}.conv{found[3]}.{found[4]}"
    if found := re.fullmatch(r"model\.1\.sub\.\d+\.(weight|bias)", name):
        return f"conv_body.{found[1]}"
    if (found := re.fullmatch(r"model\.(\d+)\.(weight|bias)", name)) and found[1] in OLD_NAMES:
        return f"{OLD_NAMES[found[1]]}.{found[2]}"
    return name
