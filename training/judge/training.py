"""Train the judge's nets on rendered frames, in minutes on two CPU cores: `python -m training.judge train`."""

from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from training.judge.nets import HEIGHT, WIDTH, MaskNet, ObjectNet, crop, track_of
from training.judge.place import place_profiles
from wan_pipeline.demo.scenes import render, sample_scenes

FRAMES = 33
BATCH = 32
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pool:
    """Rendered frames: pixels (N, 3, 96, 160), coverage (N, 1, 48, 80), and the indices of object and place (N,)."""

    pixels: Tensor
    mask: Tensor
    obj: Tensor
    place: Tensor


def train(scenes: int, steps: int, target: Path, seed: int = 20261122) -> None:
    """Render `scenes` frames, fit both nets in `steps` steps, and save the weights in fp16."""
    torch.manual_seed(seed)
    started = time.monotonic()
    pool = draw_pool(scenes, torch.Generator().manual_seed(seed))
    log.info("%d frames rendered in %.0f s", scenes, time.monotonic() - started)
    finder, namer = fit(pool, steps)
    weights = {f"finder.{name}": value for name, value in finder.state_dict().items()}
    weights |= {f"namer.{name}": value for name, value in namer.state_dict().items()}
    weights["places"] = place_profiles(pool.pixels, pool.mask, pool.place)
    half = {name: value.half().contiguous() for name, value in weights.items() if value.is_floating_point()}
    save_file(half, target, metadata={"scenes": str(scenes), "steps": str(steps), "seed": str(seed)})
    log.info("trained in %.0f s", time.monotonic() - started)


def draw_pool(count: int, generator: torch.Generator) -> Pool:
    """Render one frame of each of `count` random scenes in natural light."""
    parts = []
    for _ in range(math.ceil(count / BATCH)):
        scenes = sample_scenes(BATCH, generator, styled=0.0)
        frame = torch.randint(FRAMES, (1,), generator=generator)
        pixels, mask = render(scenes, WIDTH, HEIGHT, frame, FRAMES)
        parts.append((pixels[:, :, 0].half(), F.avg_pool2d(mask[:, :, 0], 2).half(), scenes.obj, scenes.place))
    return Pool(*(torch.cat(column) for column in zip(*parts, strict=True)))


def fit(pool: Pool, steps: int) -> tuple[MaskNet, ObjectNet]:
    """Train both nets together; the classifier sees the masks that the other net predicts as well as true ones."""
    finder, namer = MaskNet().train(), ObjectNet().train()
    parameters = [*finder.parameters(), *namer.parameters()]
    optimizer = torch.optim.AdamW(parameters, 3e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps, pct_start=0.15)
    for step in range(steps):
        rows = torch.randint(len(pool.obj), (BATCH,))
        pixels, mask = augment(pool.pixels[rows].float(), pool.mask[rows].float())
        logits = finder(pixels)
        found = logits.detach().sigmoid() if step > steps // 4 and step % 2 else mask
        names = namer(crop(pixels, found, jitter(track_of(found))))
        finding = F.binary_cross_entropy_with_logits(logits, mask)
        naming = F.cross_entropy(names, pool.obj[rows], label_smoothing=0.05)
        optimizer.zero_grad(set_to_none=True)
        (8 * finding + naming).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        if step % 100 == 0:
            right = (names.argmax(1) == pool.obj[rows]).float().mean().item()
            log.info("step %d: mask loss %.4f, object accuracy %.2f", step, finding.item(), right)
    return finder.eval(), namer.eval()


def jitter(track: Tensor) -> Tensor:
    """Shift and scale the crops at random, as found tracks are inexact."""
    shift = 0.15 * torch.randn(len(track), 2) * track[:, 2:3]
    scale = torch.exp(0.12 * torch.randn(len(track), 1))
    return torch.cat([track[:, :2] + shift, track[:, 2:3] * scale, track[:, 3:]], 1)


# Distortions like those of an autoencoder or a model -----------------------------------------------


def augment(pixels: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Blur, pixelate, add noise, tint and mirror at random. Pixels (N, 3, H, W) and coverage stay in 0..1."""
    if torch.rand(()) < 0.5:
        pixels, mask = pixels.flip(-1), mask.flip(-1)
    if torch.rand(()) < 0.5:
        pixels = blur(pixels, 0.4 + 1.4 * float(torch.rand(())))
    if torch.rand(()) < 0.4:  # only the object is smeared
        soft = blur(F.interpolate(mask, scale_factor=2.0), 2.0)
        pixels = torch.lerp(pixels, blur(pixels, 1.0 + 2.0 * float(torch.rand(()))), soft)
    if torch.rand(()) < 0.3:
        blocks = F.interpolate(F.avg_pool2d(pixels, 4), scale_factor=4.0, mode="bilinear")
        pixels = torch.lerp(pixels, blocks, 0.7 * torch.rand(len(pixels), 1, 1, 1))
    count = len(pixels)
    noise = 0.03 * torch.rand(count, 1, 1, 1) * torch.randn_like(pixels)
    clumps = F.interpolate(torch.randn(count, 3, HEIGHT // 4, WIDTH // 4), scale_factor=4.0, mode="bilinear")
    gain = 1 + 0.05 * torch.randn(count, 3, 1, 1)
    pixels = pixels * gain + 0.02 * torch.randn(count, 1, 1, 1) + noise + 0.03 * torch.rand(count, 1, 1, 1) * clumps
    return pixels.clamp(0, 1), mask


def blur(pixels: Tensor, sigma: float) -> Tensor:
    """Gaussian blur, separable, edges repeated."""
    reach = math.ceil(2.5 * sigma)
    line = torch.exp(-(torch.arange(-reach, reach + 1) ** 2) / (2 * sigma * sigma))
    line = (line / line.sum()).to(pixels)
    channels = pixels.shape[1]
    wide = F.pad(pixels, (reach,) * 4, mode="replicate")
    wide = F.conv2d(wide, line.view(1, 1, 1, -1).expand(channels, 1, 1, -1), groups=channels)
    return F.conv2d(wide, line.view(1, 1, -1, 1).expand(channels, 1, -1, 1), groups=channels)
