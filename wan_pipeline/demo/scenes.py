"""Scenes of the demo world, and the renderer that draws a batch of clips.

Coordinates are in units of the frame's short side: the centre is (0, 0), x grows to the right, y downwards, so a
320x192 frame spans x in [-0.83, 0.83] and y in [-0.5, 0.5]. Everything is batched torch without state: the same
scenes give the same pixels on the CPU and on a GPU, up to rounding.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from wan_pipeline.demo import looks, places, shapes
from wan_pipeline.demo.motions import poses
from wan_pipeline.demo.vocabulary import COLORS, LOOKS, MOTIONS, OBJECTS, PALETTE, PLACES, is_held_out

CHANCES = 24
"""Random numbers per scene: positions of clouds, where the motion starts, and so on."""


@dataclass(frozen=True)
class Scenes:
    """A batch of B clips: int64 tensors (B,) of indices into `vocabulary`; `chance` is float32 (B, CHANCES) in 0..1."""

    obj: Tensor
    color: Tensor
    motion: Tensor
    place: Tensor
    look: Tensor
    chance: Tensor

    def __len__(self) -> int:
        return int(self.obj.shape[0])

    def select(self, index: Tensor) -> Scenes:
        return Scenes(*(getattr(self, field.name)[index] for field in fields(self)))

    def to(self, device: torch.device | str) -> Scenes:
        return Scenes(*(getattr(self, field.name).to(device) for field in fields(self)))


def sample_scenes(count: int, generator: torch.Generator, held_out: bool | None = None, styled: float = 0.25) -> Scenes:
    """Return `count` random scenes on the CPU.

    `held_out` is the side of the split to sample from, None for both; `styled` is the share of clips with a look other
    than natural.
    """
    table = split(held_out)
    picks = table[torch.randint(len(table), (count,), generator=generator)]
    look = torch.randint(1, len(LOOKS), (count,), generator=generator)
    natural = torch.rand(count, generator=generator) >= styled
    chance = torch.rand(count, CHANCES, generator=generator)
    obj, color, motion, place = picks.unbind(1)
    return Scenes(obj, color, motion, place, torch.where(natural, 0, look), chance)


def split(held_out: bool | None) -> Tensor:
    """Return all (object, color, motion, place) combinations on one side of the split, int64 (N, 4)."""
    sizes = (OBJECTS, COLORS, MOTIONS, PLACES)
    combos = torch.cartesian_prod(*(torch.arange(len(size)) for size in sizes))
    if held_out is None:
        return combos
    keep = [is_held_out(*map(int, row)) == held_out for row in combos.tolist()]
    return combos[torch.tensor(keep)]


@torch.no_grad()
def render(
    scenes: Scenes, width: int, height: int, frames: Tensor, num_frames: int, fps: float = 16.0
) -> tuple[Tensor, Tensor]:
    """Render the frames `frames` (T,) of clips of `num_frames`.

    Returns the pixels, float32 (B, 3, T, H, W) in 0..1, and the object's coverage, float32 (B, 1, T, H, W) in 0..1.
    """
    device = scenes.chance.device
    side = min(width, height)
    seconds = frames.to(device, torch.float32) / fps
    duration = max(num_frames - 1, 1) / fps
    pose = poses(scenes.motion, scenes.chance, seconds, duration, width / side / 2, height / side / 2)
    ys = (torch.arange(height, device=device) + 0.5 - height / 2) / side
    xs = (torch.arange(width, device=device) + 0.5 - width / 2) / side
    y, x = torch.meshgrid(ys, xs, indexing="ij")
    canvas = places.paint(scenes.place, scenes.chance, x, y, seconds, 1 / side)
    palette = torch.tensor([PALETTE[name] for name in COLORS], device=device)[scenes.color]
    canvas = places.cast_shadow(canvas, scenes.place, pose.x, pose.y, pose.scale, x, y)
    canvas, coverage = shapes.draw(canvas, scenes.obj, scenes.motion, palette, pose, x, y, seconds, 1 / side)
    canvas = looks.grade(canvas, coverage, scenes.look, x, y)
    return canvas.clamp(0, 1).transpose(1, 2), coverage.transpose(1, 2)
