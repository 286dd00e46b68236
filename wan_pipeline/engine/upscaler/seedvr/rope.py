"""Rotary positions of SeedVR2's attention: three axes within a window, after the positions of the text."""

from __future__ import annotations

import torch

from wan_pipeline.engine.upscaler.seedvr.windows import Size

THETA = 10_000.0
Turn = tuple[torch.Tensor, torch.Tensor]
"""Cosine and sine, each (tokens, pairs), float32."""


def pairs_per_axis(head: int) -> int:
    """Pairs of channels that each axis turns, of a head with so many channels; those left over are not turned."""
    return head // 3 // 2


def video_turn(window: Size, after: int, head: int, device: torch.device) -> Turn:
    """Of a window's tokens in order; their times begin after the text's `after` positions."""
    time, height, width = window
    axes = (torch.arange(after, after + time), torch.arange(height), torch.arange(width))
    angles = [_angles(places, head) for places in axes]
    spread = [
        angles[0][:, None, None].expand(time, height, width, -1),
        angles[1][None, :, None].expand(time, height, width, -1),
        angles[2][None, None].expand(time, height, width, -1),
    ]
    return _turn(torch.cat(spread, -1).flatten(0, 2), device)


def text_turn(length: int, head: int, device: torch.device) -> Turn:
    """Of the text's tokens, whose place is the same on all axes."""
    return _turn(_angles(torch.arange(length), head).repeat(1, 3), device)


def rotate(values: torch.Tensor, turn: Turn) -> torch.Tensor:
    """Turn neighbouring channels of (..., tokens, head) in float32."""
    cosine, sine = turn
    width = 2 * cosine.shape[-1]
    first, second = torch.unflatten(values[..., :width].float(), -1, (-1, 2)).unbind(-1)
    turned = torch.stack((first * cosine - second * sine, second * cosine + first * sine), -1).flatten(-2)
    return torch.cat((turned.to(values.dtype), values[..., width:]), -1)


def _angles(places: torch.Tensor, head: int) -> torch.Tensor:
    pairs = pairs_per_axis(head)
    rates = THETA ** -(torch.arange(pairs, dtype=torch.float64) * 2 / (head // 3))
    return places.double()[:, None] * rates


def _turn(angles: torch.Tensor, device: torch.device) -> Turn:
    return angles.cos().float().to(device), angles.sin().float().to(device)
