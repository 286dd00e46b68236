"""The ten motions of the demo world: position, size and rotation of the object over time."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from wan_pipeline.demo.vocabulary import MOTIONS

LEFT, RIGHT, UP, DOWN, BOUNCE, CIRCLE, SPIN, GROW, SHRINK, STILL = range(len(MOTIONS))
MARGIN = 0.18
"""Smallest distance from the frame's edge at which an object's centre starts: about its radius."""


@dataclass(frozen=True)
class Pose:
    """The object in each frame; all tensors are (B, T)."""

    x: Tensor
    y: Tensor
    scale: Tensor
    angle: Tensor
    squash: Tensor
    """Height over width; 1 is undeformed."""


def poses(
    motion: Tensor, chance: Tensor, seconds: Tensor, duration: float, half_width: float, half_height: float
) -> Pose:
    """Return the poses of a batch of objects with motions (B,) and random numbers `chance` (B, C), at times `seconds`
    (T,) of a clip of `duration` seconds, in a frame of the given half sizes."""
    c, now = chance.unsqueeze(-1), seconds.unsqueeze(0)
    progress = (now / duration).clamp(0, 1)
    kind = motion.unsqueeze(-1)
    x = (c[:, 0] - 0.5) * 0.7 * half_width + 0 * progress
    y = (c[:, 1] - 0.5) * 0.36 * half_height + 0 * progress
    upright = torch.zeros_like(x)

    across, along = _travel(c, progress, half_width), _travel(c, progress, half_height)
    x = torch.where(kind == LEFT, across, torch.where(kind == RIGHT, -across, x))
    y = torch.where(kind == UP, along, torch.where(kind == DOWN, -along, y))

    lift, squash = _hop(c, now)
    y = torch.where(kind == BOUNCE, half_height - 0.25 - 0.50 * half_height * lift, y)
    squash = torch.where(kind == BOUNCE, squash, torch.ones_like(y))

    turn = 2 * math.pi * ((0.55 + 0.15 * c[:, 5]) * now + c[:, 6])
    radius = half_height * 0.42
    x = torch.where(kind == CIRCLE, (c[:, 0] - 0.5) * 0.5 * half_width + radius * 1.15 * torch.cos(turn), x)
    y = torch.where(kind == CIRCLE, (c[:, 1] - 0.5) * 0.12 * half_height + radius * torch.sin(turn), y)

    spin = 2 * math.pi * (0.5 + 0.2 * c[:, 5]) * now + (c[:, 6] - 0.5) * 0.6
    angle = torch.where(kind == SPIN, spin, upright)
    scale = (0.165 + 0.045 * c[:, 7]) * _growth(kind, c, progress)
    return Pose(x, y, scale, angle, squash)


def _travel(c: Tensor, progress: Tensor, half: float) -> Tensor:
    """A straight path from the positive to the negative side: across the frame, or in 40 % of the clips from near the
    centre to the edge, as a given image may start."""
    reach = half - MARGIN
    crosses = c[:, 2] < 0.6
    start = torch.where(crosses, reach * (0.72 + 0.25 * c[:, 3]), (c[:, 3] - 0.35) * 0.5 * reach)
    end = torch.where(crosses, -reach * (0.72 + 0.25 * c[:, 4]), -reach * (0.85 + 0.3 * c[:, 4]))
    return start + (end - start) * progress


def _hop(c: Tensor, now: Tensor) -> tuple[Tensor, Tensor]:
    """Height of a bounce from 0, on the ground, to 1, and the squash on landing."""
    lift = torch.sin(math.pi * (0.9 + 0.3 * c[:, 5]) * now + math.pi * c[:, 6]).abs()
    return lift, 1 - 0.22 * torch.exp(-((lift / 0.16) ** 2))


def _growth(kind: Tensor, c: Tensor, progress: Tensor) -> Tensor:
    small, large = 0.45 + 0.3 * c[:, 8], 1.35 + 0.35 * c[:, 9]
    grown = torch.where(kind == GROW, small + (large - small) * progress, torch.ones_like(progress))
    return torch.where(kind == SHRINK, large + (small - large) * progress, grown)
