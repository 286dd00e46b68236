"""The decoder of TAEHV (Ollin Boer Bohan, MIT licence), a small stand-in for the decoder of a Wan VAE.

Convolutions of single frames, and blocks that also see the frame before: no frame depends on a later one. Each of three
stages doubles the sides; the second and the third double the frames too. Of the four frames of a latent frame only the
last is computed here, which is the only one that the first latent frame has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch.nn import functional

from wan_pipeline.engine.network_files.shapes import kernel_shape

Memory = dict[torch.nn.Module, torch.Tensor]
"""The last frame that each block saw; empty before the first."""
BOUND = 3.0
"""Latents are bent to stay within it."""
BLOCKS = 3
"""Of each stage."""
GROWTH, STEP = (1, 2, 1), (1, 1, 2)
"""Of each stage. The third would double the frames too: here it makes the last ones only."""


class MemoryBlock(torch.nn.Module):
    """A residual of each frame and the one before it, which is black before the first."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = torch.nn.Sequential(
            _convolution(2 * width, width),
            torch.nn.ReLU(inplace=True),
            _convolution(width, width),
            torch.nn.ReLU(inplace=True),
            _convolution(width, width),
        )

    def forward(self, frames: torch.Tensor, memory: Memory) -> torch.Tensor:
        first = memory.get(self, torch.zeros_like(frames[:1]))
        before = torch.cat([first, frames[:-1]])
        memory[self] = frames[-1:].clone()  # a view would keep them all
        residual: torch.Tensor = self.conv(torch.cat([frames, before], 1))
        return residual.add_(frames).relu_()


class Stage(torch.nn.Module):
    """Blocks, then frames of twice the sides, `growth` of each; of every `step` frames only the last goes on."""

    def __init__(self, width: int, next_width: int, growth: int, step: int) -> None:
        super().__init__()
        self.blocks = torch.nn.ModuleList(MemoryBlock(width) for _ in range(BLOCKS))
        self.grow = torch.nn.Conv2d(width, growth * width, 1, bias=False)
        self.narrow = _convolution(width, next_width, bias=False)
        self.step = step

    def forward(self, frames: torch.Tensor, memory: Memory) -> torch.Tensor:
        for block in self.blocks:
            frames = block(frames, memory)
        grown = self.grow(frames[self.step - 1 :: self.step])
        small = grown.reshape(-1, *frames.shape[1:])
        large: torch.Tensor = self.narrow(functional.interpolate(small, scale_factor=2))
        return large


class TinyDecoder(torch.nn.Module):
    """Decodes normalised latents of a Wan VAE, a video frame of each latent frame."""

    def __init__(self, channels: int, widths: Sequence[int], patch: int) -> None:
        """`widths` are the channels before each of the stages, and after the last."""
        super().__init__()
        self.channels, self.patch = channels, patch
        self.first = _convolution(channels, widths[0])
        self.stages = torch.nn.ModuleList(map(Stage, widths[:3], widths[1:], GROWTH, STEP))
        self.last = _convolution(widths[3], 3 * patch**2)

    @property
    def scale(self) -> int:
        """Pixels of a side of each latent."""
        return self.patch << len(self.stages)

    def forward(self, latents: torch.Tensor, memory: Memory) -> torch.Tensor:
        """(n, channels, h, w) -> (n, 3, h * scale, w * scale) from 0 to 1. `memory` is updated: the next frames of the
        same clip go on from it.
        """
        frames = self.first(torch.tanh(latents / BOUND) * BOUND).relu_()
        for stage in self.stages:
            frames = stage(frames, memory)
        colors = functional.pixel_shuffle(self.last(frames.relu_()), self.patch)
        return colors.clamp_(0, 1)


def decoder_of(tensors: Mapping[str, torch.Tensor]) -> TinyDecoder | None:
    """The decoder that the tensors may fit, by the names of `new_names`, on the meta device; None if they are of
    another kind.
    """
    width, channels = kernel_shape(tensors, "first.weight")
    outputs = [kernel_shape(tensors, f"stages.{stage}.narrow.weight")[0] for stage in range(3)]
    colors, _ = kernel_shape(tensors, "last.weight")
    patch = {3: 1, 12: 2}.get(colors)
    if not channels or not all(outputs) or patch is None:
        return None
    with torch.device("meta"):
        return TinyDecoder(channels, [width, *outputs], patch)


def _convolution(inputs: int, outputs: int, *, bias: bool = True) -> torch.nn.Conv2d:
    return torch.nn.Conv2d(inputs, outputs, 3, padding=1, bias=bias)
