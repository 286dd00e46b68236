"""Rotary positions of SeedVR2's attention, along three axes within a window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import pi
from typing import Protocol

import torch

from wan_pipeline.engine.upscaler.seedvr.windows import Size

THETA = 10_000.0
FINEST = 128.0
"""Half turns over a window, of the fastest pair of channels of `RelativePositions`."""
Turn = tuple[torch.Tensor, torch.Tensor]
"""Cosine and sine, each (tokens, pairs), float32. Channels of a head that are left over are not turned."""


class Positions(Protocol):
    """How a head's channels are turned."""

    def video(self, window: Size, text: int, device: torch.device) -> Turn:
        """Of a window's tokens in order; the text has `text` tokens."""

    def text(self, length: int, device: torch.device) -> Turn | None:
        """Of the text's tokens; None if they are not turned."""


@dataclass(frozen=True)
class CountedPositions:
    """The 3B's: tokens are counted along each axis. The text's come first, with the same place on all axes."""

    head: int
    """Channels of a head."""

    def video(self, window: Size, text: int, device: torch.device) -> Turn:
        starts = (text, 0, 0)
        places = [torch.arange(start, start + length) for start, length in zip(starts, window, strict=True)]
        return _turn(_spread([self._angles(each) for each in places]), device)

    def text(self, length: int, device: torch.device) -> Turn:
        return _turn(self._angles(torch.arange(length)).repeat(1, 3), device)

    def _angles(self, places: torch.Tensor) -> torch.Tensor:
        pairs = torch.arange(self.head // 3 // 2, dtype=torch.float64)
        return places.double()[:, None] * THETA ** -(pairs * 2 / (self.head // 3))


@dataclass(frozen=True)
class RelativePositions:
    """The 7B's: a window goes from -1 to 1 along each axis, whatever its size. The text has no positions."""

    head: int
    """Channels of a head."""

    def video(self, window: Size, text: int, device: torch.device) -> Turn:
        rates = torch.linspace(1, FINEST, self.head // 6 // 2, dtype=torch.float64) * pi
        places = [torch.linspace(-1, 1, length, dtype=torch.float64) for length in window]
        return _turn(_spread([each[:, None] * rates for each in places]), device)

    def text(self, length: int, device: torch.device) -> None:
        return None


def rotate(values: torch.Tensor, turn: Turn | None) -> torch.Tensor:
    """Turn neighbouring channels of (..., tokens, head) in float32."""
    if turn is None:
        return values
    cosine, sine = turn
    width = 2 * cosine.shape[-1]
    first, second = torch.unflatten(values[..., :width].float(), -1, (-1, 2)).unbind(-1)
    turned = torch.stack((first * cosine - second * sine, second * cosine + first * sine), -1).flatten(-2)
    return torch.cat((turned.to(values.dtype), values[..., width:]), -1)


def _spread(axes: Sequence[torch.Tensor]) -> torch.Tensor:
    """Angles (places, pairs) along each axis -> (tokens, pairs of all axes)."""
    time, height, width = (len(each) for each in axes)
    shapes = ((time, 1, 1, -1), (1, height, 1, -1), (1, 1, width, -1))
    spread = [each.view(shape).expand(time, height, width, -1) for each, shape in zip(axes, shapes, strict=True)]
    return torch.cat(spread, -1).flatten(0, 2)


def _turn(angles: torch.Tensor, device: torch.device) -> Turn:
    return angles.cos().float().to(device), angles.sin().float().to(device)
