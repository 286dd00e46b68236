"""IFNet of RIFE 4: the flow to a moment between two frames, coarse to fine, and how the two are mixed there.

Huang et al., "Real-Time Intermediate Flow Estimation for Video Frame Interpolation", arXiv 2011.06294, in the shapes of
Practical-RIFE 4.5 to 4.26 (github.com/hzwer/Practical-RIFE, MIT).
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from enum import Enum

import torch
from torch.nn import functional

from wan_pipeline.engine.interpolator.warp import warp

SLOPE = 0.2
"""Of the leaky rectifiers."""
COLORS, FLOW, MASK = 3, 4, 1
"""Channels of a frame, of the flow to both frames, and of their mix."""
STRIDE = 4
"""What a block makes its input smaller by, beside its scale."""


class Encoder(Enum):
    """What sees the frames before the blocks, by how published files name its layers."""

    NONE = ()
    SHORT = ("0", "1")
    """4.7 to 4.9: two layers without an activation between them."""
    NUMBERED = ("0", "2", "4", "6")
    """4.10 to 4.12, and the lite ones to 4.13."""
    NAMED = ("cnn0", "cnn1", "cnn2", "cnn3")


@dataclass(frozen=True)
class Shape:
    """What distinguishes the variants."""

    widths: tuple[int, ...]
    """Channels of each block."""
    scales: tuple[int, ...]
    """What each block's input is made smaller by."""
    outputs: int
    """Channels that a block gives: FLOW, MASK, and others."""
    carried: int = 0
    """Those of the others that the next block is given."""
    encoder: Encoder = Encoder.NONE
    encoder_width: int = 0
    features: int = 0
    """Channels that the encoder gives for a frame."""
    groups: int = 1
    """Of the convolutions within a block."""
    depth: int = 8
    """Convolutions within a block."""

    @property
    def multiple(self) -> int:
        """What height and width of the frames must be a multiple of."""
        return self.scales[0] * STRIDE

    def inputs(self, block: int) -> int:
        """Channels that a block is given: two frames with their features, the moment, and what came before."""
        first = 2 * (COLORS + self.features) + 1
        return first if block == 0 else first + MASK + self.carried + FLOW


class Residual(torch.nn.Module):
    """A convolution, weighted a channel, beside its input."""

    def __init__(self, width: int, groups: int) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(width, width, 3, padding=1, groups=groups)
        self.beta = torch.nn.Parameter(torch.ones(1, width, 1, 1))

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return functional.leaky_relu(torch.addcmul(values, self.conv(values), self.beta), SLOPE)


class Block(torch.nn.Module):
    """Looks at both frames at one scale: how the flow changes, how they are mixed, and what the next block is told."""

    def __init__(self, inputs: int, width: int, scale: int, shape: Shape) -> None:
        super().__init__()
        self.scale = scale
        self.conv0 = torch.nn.Sequential(_halving(inputs, width // 2), _halving(width // 2, width))
        self.convblock = torch.nn.Sequential(*(Residual(width, shape.groups) for _ in range(shape.depth)))
        self.lastconv = torch.nn.Sequential(
            torch.nn.ConvTranspose2d(width, STRIDE * shape.outputs, 4, 2, 1), torch.nn.PixelShuffle(2)
        )

    def forward(self, seen: torch.Tensor, flow: torch.Tensor | None) -> torch.Tensor:
        """(n, inputs, h, w) -> (n, outputs, h, w); flow (n, 4, h, w) in pixels of this size, as is what it gives."""
        values = self._resized(seen, 1 / self.scale)
        if flow is not None:
            values = torch.cat((values, self._resized(flow, 1 / self.scale) / self.scale), 1)
        made = self._resized(self.lastconv(self.convblock(self.conv0(values))), self.scale)
        return torch.cat((made[:, :FLOW] * self.scale, made[:, FLOW:]), 1)

    def _resized(self, values: torch.Tensor, factor: float) -> torch.Tensor:
        return values if factor == 1 else functional.interpolate(values, scale_factor=factor, mode="bilinear")


class IFNet(torch.nn.Module):
    """Frames between two others. Its tensors have the names of published files: `block0.conv0.0.0.weight`."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        for number, (width, scale) in enumerate(zip(shape.widths, shape.scales, strict=True)):
            self.add_module(f"block{number}", Block(shape.inputs(number), width, scale, shape))
        if shape.encoder is not Encoder.NONE:
            self.encode = _encoder(shape)

    def forward(self, before: torch.Tensor, after: torch.Tensor, moment: float) -> torch.Tensor:
        """Two frames (n, 3, h, w) from 0 to 1, h and w multiples of `shape.multiple` -> (n, 3, h, w).

        `moment` is between 0, which is `before`, and 1, `after`.
        """
        pair = [self._with_features(frame) for frame in (before, after)]
        warped, state = pair, [torch.full_like(before[:, :1], moment)]
        flow: torch.Tensor | None = None
        mask = torch.zeros_like(state[0])
        for block in self._blocks:
            frames = [part[:, :COLORS] for part in warped] + [part[:, COLORS:] for part in warped]
            made = block(torch.cat((*frames, *state), 1), flow)
            flow = made[:, :FLOW] if flow is None else flow + made[:, :FLOW]
            mask = self._mask(mask, made)
            state = [state[0], mask, made[:, FLOW + MASK :][:, : self.shape.carried]]
            warped = [warp(part, way) for part, way in zip(pair, flow.split(2, 1), strict=True)]
        first, second = (part[:, :COLORS] for part in warped)
        return torch.lerp(second, first, torch.sigmoid(mask))

    @property
    def _blocks(self) -> list[torch.nn.Module]:
        return [self.get_submodule(f"block{number}") for number in range(len(self.shape.widths))]

    def _with_features(self, frame: torch.Tensor) -> torch.Tensor:
        return frame if self.shape.encoder is Encoder.NONE else torch.cat((frame, self.encode(frame)), 1)

    def _mask(self, before: torch.Tensor, made: torch.Tensor) -> torch.Tensor:
        """Blocks change the mix of the one before them; since there are encoders, they decide it anew."""
        mask = made[:, FLOW : FLOW + MASK]
        return before + mask if self.shape.encoder is Encoder.NONE else mask


def _halving(inputs: int, outputs: int) -> torch.nn.Sequential:
    return torch.nn.Sequential(torch.nn.Conv2d(inputs, outputs, 3, 2, 1), torch.nn.LeakyReLU(SLOPE))


def _encoder(shape: Shape) -> torch.nn.Sequential:
    """Half the size and back, by layers with the names of the kind."""
    names, width = shape.encoder.value, shape.encoder_width
    layers: list[torch.nn.Module] = [torch.nn.Conv2d(COLORS, width, 3, 2, 1)]
    layers += [torch.nn.Conv2d(width, width, 3, padding=1) for _ in names[1:-1]]
    layers.append(torch.nn.ConvTranspose2d(width, shape.features, 4, 2, 1))
    named: OrderedDict[str, torch.nn.Module] = OrderedDict()
    for name, layer in zip(names, layers, strict=True):
        named[name] = layer
        if len(names) > 2 and name != names[-1]:
            named[f"after_{name}"] = torch.nn.LeakyReLU(SLOPE)
    return torch.nn.Sequential(named)
