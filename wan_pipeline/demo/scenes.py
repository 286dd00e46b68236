"""Scenes of the demo world: what is in a clip, how it moves, and the renderer that draws a batch of clips.

Coordinates are in units of the frame's short side: the centre is (0, 0), x grows to the right, y downwards, so a
320x192 frame spans x in [-0.83, 0.83] and y in [-0.5, 0.5]. Everything is torch, batched and without state: the
same scenes give the same pixels, on the CPU or on a GPU, up to rounding.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from wan_pipeline.demo import looks, places, shapes
from wan_pipeline.demo.vocabulary import COLORS, LOOKS, MOTIONS, OBJECTS, PALETTE, PLACES, is_held_out

LEFT, RIGHT, UP, DOWN, BOUNCE, CIRCLE, SPIN, GROW, SHRINK, STILL = range(len(MOTIONS))
CHANCES = 24
"""Random numbers a scene carries: where clouds are, where the motion starts, and so on."""


@dataclass(frozen=True)
class Scenes:
    """A batch of B clips to draw. Integer tensors of shape (B,) index `vocabulary`; `chance` is (B, CHANCES) in 0..1."""

    obj: Tensor
    color: Tensor
    motion: Tensor
    place: Tensor
    look: Tensor
    chance: Tensor

    def __len__(self) -> int:
        return int(self.obj.shape[0])

    def select(self, index: Tensor) -> Scenes:
        return Scenes(
            self.obj[index], self.color[index], self.motion[index], self.place[index], self.look[index], self.chance[index]
        )

    def to(self, device: torch.device | str) -> Scenes:
        return Scenes(*(getattr(self, name).to(device) for name in ("obj", "color", "motion", "place", "look", "chance")))


def draw_lots(count: int, generator: torch.Generator, held_out: bool | None = None, styled: float = 0.25) -> Scenes:
    """`count` random scenes on the CPU. `held_out` True or False keeps only that side of the split; None takes both.

    `styled` is the share of clips with a look other than natural.
    """
    table = split(held_out)
    picks = table[torch.randint(len(table), (count,), generator=generator)]
    look = torch.randint(1, len(LOOKS), (count,), generator=generator)
    natural = torch.rand(count, generator=generator) >= styled
    return Scenes(
        *picks.unbind(1),
        look=torch.where(natural, 0, look),
        chance=torch.rand(count, CHANCES, generator=generator),
    )


def split(held_out: bool | None) -> Tensor:
    """All (object, color, motion, place) combinations on one side of the split, shape (N, 4), int64."""
    sizes = (OBJECTS, COLORS, MOTIONS, PLACES)
    combos = torch.cartesian_prod(*(torch.arange(len(size)) for size in sizes))
    if held_out is None:
        return combos
    keep = [is_held_out(*map(int, row)) == held_out for row in combos.tolist()]
    return combos[torch.tensor(keep)]


@dataclass(frozen=True)
class Pose:
    """Where the object is in each frame; all tensors (B, T)."""

    x: Tensor
    y: Tensor
    scale: Tensor
    angle: Tensor
    squash: Tensor
    """Height over width; 1 is undeformed."""


def poses(scenes: Scenes, seconds: Tensor, duration: float, half_width: float, half_height: float) -> Pose:
    """The object's path at times `seconds` (T,), of a clip of `duration` seconds in a frame of the given half sizes."""
    c = scenes.chance.unsqueeze(-1)
    u = (seconds / duration).clamp(0, 1).unsqueeze(0)
    motion = scenes.motion.unsqueeze(-1)
    is_ = lambda *names: torch.stack([motion == name for name in names]).any(0)  # noqa: E731

    x = (c[:, 0] - 0.5) * 0.7 * half_width + 0 * u
    y = (c[:, 1] - 0.5) * 0.36 * half_height + 0 * u
    crossing = c[:, 2] < 0.6  # across the frame, or else from the middle to the edge, as a given image would start
    for axis_motions, half in (((LEFT, RIGHT), half_width), ((UP, DOWN), half_height)):
        reach = half - 0.18
        start = torch.where(crossing, reach * (0.72 + 0.25 * c[:, 3]), (c[:, 3] - 0.35) * 0.5 * reach)
        end = torch.where(crossing, -reach * (0.72 + 0.25 * c[:, 4]), -reach * (0.85 + 0.3 * c[:, 4]))
        path = start + (end - start) * u
        if half is half_width:
            x = torch.where(is_(LEFT), path, torch.where(is_(RIGHT), -path, x))
        else:
            y = torch.where(is_(UP), path, torch.where(is_(DOWN), -path, y))

    hop = math.pi * (0.9 + 0.3 * c[:, 5]) * seconds.unsqueeze(0) + math.pi * c[:, 6]
    height = torch.sin(hop).abs()
    y = torch.where(is_(BOUNCE), half_height - 0.25 - 0.50 * half_height * height, y)
    squash = torch.where(is_(BOUNCE), 1 - 0.22 * torch.exp(-((height / 0.16) ** 2)), torch.ones_like(y))

    turn = 2 * math.pi * ((0.55 + 0.15 * c[:, 5]) * seconds.unsqueeze(0) + c[:, 6])
    radius = half_height * 0.42
    x = torch.where(is_(CIRCLE), (c[:, 0] - 0.5) * 0.5 * half_width + radius * 1.15 * torch.cos(turn), x)
    y = torch.where(is_(CIRCLE), (c[:, 1] - 0.5) * 0.12 * half_height + radius * torch.sin(turn), y)

    spin = 2 * math.pi * (0.5 + 0.2 * c[:, 5]) * seconds.unsqueeze(0) + (c[:, 6] - 0.5) * 0.6
    angle = torch.where(is_(SPIN), spin, 0 * u)

    size = 0.165 + 0.045 * c[:, 7]
    small, large = 0.45 + 0.3 * c[:, 8], 1.35 + 0.35 * c[:, 9]
    growth = torch.where(is_(GROW), small + (large - small) * u, torch.where(is_(SHRINK), large + (small - large) * u, 1 + 0 * u))
    return Pose(x, y, size * growth, angle, squash)


@torch.no_grad()
def render(scenes: Scenes, width: int, height: int, frames: Tensor, num_frames: int, fps: float = 16.0) -> tuple[Tensor, Tensor]:
    """Draw the clips.

    `frames` (T,) are the indices to draw of a clip of `num_frames`. Returns the pixels, float32 (B, 3, T, H, W) in
    0..1, and the object's coverage, float32 (B, 1, T, H, W) in 0..1.
    """
    device = scenes.chance.device
    side = min(width, height)
    seconds = frames.to(device, torch.float32) / fps
    duration = max(num_frames - 1, 1) / fps
    pose = poses(scenes, seconds, duration, width / side / 2, height / side / 2)
    ys = (torch.arange(height, device=device) + 0.5 - height / 2) / side
    xs = (torch.arange(width, device=device) + 0.5 - width / 2) / side
    y, x = torch.meshgrid(ys, xs, indexing="ij")
    canvas = places.paint(scenes.place, scenes.chance, x, y, seconds, 1 / side)
    palette = torch.tensor([PALETTE[name] for name in COLORS], device=device)[scenes.color]
    canvas = places.cast_shadow(canvas, scenes.place, pose.x, pose.y, pose.scale, x, y)
    canvas, coverage = shapes.draw(canvas, scenes.obj, scenes.motion, palette, pose, x, y, seconds, 1 / side)
    canvas = looks.grade(canvas, coverage, scenes.look, x, y)
    return canvas.clamp(0, 1).transpose(1, 2), coverage.transpose(1, 2)
