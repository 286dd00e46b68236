"""Pixels for the autoencoder: short windows of rendered clips, and clips of colour noise."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from wan_pipeline.demo.scenes import render, sample_scenes


def noise_clips(count: int, width: int, height: int, frames: int, generator: torch.Generator, device: str) -> Tensor:
    """Return clips of drifting colour noise with hard edges, (count, 3, frames, height, width) in 0..1.

    They are there because people start from photos, which the autoencoder must represent as well as scenes.
    """
    picture = torch.zeros(count, 3, height + 32, width + 32, device=device)
    for cells, strength in ((3, 0.6), (6, 0.35), (15, 0.15)):
        noise = torch.randn(count, 3, cells, cells * width // height + 1, generator=generator).to(device)
        mode = "nearest" if cells == 6 else "bicubic"
        picture += strength * F.interpolate(noise, picture.shape[-2:], mode=mode)
    picture = torch.sigmoid(1.6 * picture)
    speed = torch.randint(-2, 3, (2,), generator=generator).tolist()
    shifts = [(16 + speed[0] * min(k, 7), 16 + speed[1] * min(k, 7)) for k in range(frames)]
    return torch.stack([picture[:, :, r : r + height, c : c + width] for r, c in shifts], 2)


class PixelPool:
    """Short windows of rendered clips, uint8 (N, 4, T, H, W): colour, and the object's coverage as fourth channel."""

    def __init__(self, capacity: int, frames: int, width: int, height: int, device: str, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self.device, self.frames, self.width, self.height = device, frames, width, height
        self.clips = torch.zeros(capacity, 4, frames, height, width, dtype=torch.uint8, device=device)
        self.filled = self.next = 0

    def add(self, count: int) -> None:
        """Replace the `count` oldest windows by new ones."""
        whole = max(33, self.frames)
        first = int(torch.randint(0, whole - self.frames + 1, (1,), generator=self.generator))
        scenes = sample_scenes(count, self.generator).to(self.device)
        pixels, mask = render(scenes, self.width, self.height, torch.arange(first, first + self.frames), whole)
        if torch.rand((), generator=self.generator) < count / 25:
            pixels[:1] = noise_clips(1, self.width, self.height, self.frames, self.generator, self.device)
            mask[:1] = 0
        rows = [(self.next + k) % len(self.clips) for k in range(count)]
        self.clips[rows] = (torch.cat([pixels, mask], 1) * 255 + 0.5).to(torch.uint8)
        self.next = (rows[-1] + 1) % len(self.clips)
        self.filled = min(max(self.filled, rows[-1] + 1), len(self.clips))

    def windows(self, count: int, width: int, height: int) -> tuple[Tensor, Tensor]:
        """Return random crops, half of them mirrored: pixels (count, 3, T, height, width) in -1..1 and a loss weight,
        (count, 1, T, height, width), which is 3 on the object and 1 elsewhere."""
        rows = torch.randint(self.filled, (count,)).tolist()
        tops = torch.randint(self.height - height + 1, (count,)).tolist()
        lefts = torch.randint(self.width - width + 1, (count,)).tolist()
        cut = torch.stack(
            [self.clips[k, :, :, t : t + height, c : c + width] for k, t, c in zip(rows, tops, lefts, strict=True)]
        )
        cut = cut.flip(-1) if torch.rand(()) < 0.5 else cut
        cut = cut.float() / 255
        return cut[:, :3] * 2 - 1, 1 + 2 * cut[:, 3:]
