"""Train the autoencoder: first on crops of short clips, then on whole clips of the greatest length."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLWan
from torch import Tensor

from training import architecture
from training.autoencoder.pixels import PixelPool, noise_clips
from training.autoencoder.step import VaeStep, fastest_layout, set_layout, with_fast_norms
from training.common import DENOISER, Clock, MovingAverage, optimizer_for, optimizer_step, write_record
from training.distributed import ProcessGroup
from wan_pipeline.demo.scenes import render, sample_scenes

log = logging.getLogger(__name__)

WIDTH, HEIGHT = 320, 192
SHORT, LONG = 9, 49
"""Frames per training clip. Short clips teach it images; its causal convolutions look back further than that, so a last
round on the longest clips keeps it stable over time (19 dB without it, at 33 frames)."""


def train_pictures(minutes: float, work: Path, batch: int, seed: int, group: ProcessGroup) -> None:
    """Train from random weights on short clips: 128x128 crops for 80 % of the time, then whole frames."""
    torch.manual_seed(seed)  # before the weights are made: they must be equal in all processes
    clock = Clock(minutes, synchronise=group.mean)
    vae = with_fast_norms(architecture.make_vae().to(group.device).train())
    torch.manual_seed(seed + group.rank)
    on_gpu = group.device == "cuda"
    if on_gpu:
        set_layout(vae, fastest_layout(vae, batch, SHORT, 128, 128))
    pool = PixelPool(6000 if on_gpu else 16, SHORT, WIDTH, HEIGHT, group.device, seed + group.rank)
    for _ in range(100 if on_gpu else 1):
        pool.add(16)
    rounds = [
        (0.8, VaeStep(vae, batch, SHORT, 128, 128, group.device)),
        (1.0, VaeStep(vae, max(batch // 4, 1), SHORT, WIDTH, HEIGHT, group.device)),
    ]
    losses = fit(vae, rounds, pool, clock, 2e-3, 16, group)
    facts = {
        "stage": "pictures",
        "minutes": minutes,
        "steps": clock.step,
        "batch": batch * group.world_size,
        "seed": seed,
    }
    finish(vae, work, facts, losses, group)


def train_steadiness(minutes: float, work: Path, batch: int, seed: int, group: ProcessGroup) -> None:
    """Train the weights of `train_pictures` on whole clips of the greatest length."""
    seed += 7
    torch.manual_seed(seed + group.rank)
    clock = Clock(minutes, synchronise=group.mean)
    vae = with_fast_norms(AutoencoderKLWan.from_pretrained(work / "vae").to(group.device).train())
    on_gpu = group.device == "cuda"
    if on_gpu:
        set_layout(vae, torch.channels_last_3d)
    pool = PixelPool(240 if on_gpu else 4, LONG, WIDTH, HEIGHT, group.device, seed + group.rank)
    for _ in range(24 if on_gpu else 1):
        pool.add(4)
    clips = max(batch // 16, 1)
    rounds = [(1.0, VaeStep(vae, clips, LONG, WIDTH, HEIGHT, group.device))]
    losses = fit(vae, rounds, pool, clock, 6e-4, 4, group)
    facts = {
        "stage": "steadiness",
        "minutes": minutes,
        "steps": clock.step,
        "batch": clips * group.world_size,
        "seed": seed,
    }
    finish(vae, work, facts, losses, group)


def fit(
    vae: AutoencoderKLWan,
    rounds: list[tuple[float, VaeStep]],
    pool: PixelPool,
    clock: Clock,
    peak: float,
    renew: int,
    group: ProcessGroup,
) -> list[list[float]]:
    """Run each round up to its share of the schedule, leave the averaged weights in `vae`, and return the losses.

    `rounds` holds (progress at which the round ends, step); `renew` is how many clips to draw every five steps.
    """
    average = MovingAverage(vae, 0.999)
    optimizer = optimizer_for([{"params": list(vae.parameters()), "peak": peak}])
    losses = []
    log.info("autoencoder ready after %.2f min", clock.elapsed)
    for until, step in rounds:
        while clock.done < until:
            count, _, _, height, width = step.pixels.shape
            loss = step(*pool.windows(count, width, height))
            group.average_gradients(vae)
            optimizer_step([optimizer], vae, clock)
            average.update(clock.step)
            if clock.step % 5 == 0:
                pool.add(renew)
            if clock.step % 250 == 1:
                losses.append([clock.step, round(clock.elapsed, 2), loss.item()])
                log.info("autoencoder step %d  %.2f min  loss %.4f", *losses[-1])
    average.copy_to_module()
    return losses


def finish(
    vae: AutoencoderKLWan, work: Path, facts: dict[str, Any], losses: list[list[float]], group: ProcessGroup
) -> None:
    """Save the weights and the PSNR on unseen scenes.

    The latents' mean and standard deviation are measured only while no denoiser has been trained on their scale.
    """
    if not group.is_main:
        return
    plain = plain_copy(vae).to(group.device).eval()
    if not (work / DENOISER).exists():
        set_latent_statistics(plain, group.device, 2)
    plain.save_pretrained(work / "vae", max_shard_size="14MB")
    score = psnr(plain, group.device, 1)
    log.info("PSNR on unseen scenes: %s", score)
    write_record(work, {**facts, "psnr_db": score, "losses": losses}, group.device, group.world_size)


def plain_copy(vae: AutoencoderKLWan) -> AutoencoderKLWan:
    """Return a model with the same weights and latent scale, diffusers' own norms and a contiguous layout."""
    plain = architecture.make_vae(vae.config.z_dim)
    plain.register_to_config(latents_mean=vae.config.latents_mean, latents_std=vae.config.latents_std)
    plain.load_state_dict({name: value.detach().cpu().contiguous() for name, value in vae.state_dict().items()})
    return plain


@torch.no_grad()
def psnr(vae: AutoencoderKLWan, device: str, seed: int, clips: int = 12) -> dict[str, float]:
    """Mean peak signal-to-noise ratio in dB over whole clips, over first frames alone, and over noise images."""
    generator = torch.Generator().manual_seed(seed)
    scenes = sample_scenes(clips, generator, held_out=True, styled=0.0).to(device)
    whole, first, noise = [], [], []
    for row in range(clips):
        pixels, _ = render(scenes.select(torch.tensor([row], device=device)), 320, 192, torch.arange(33), 33)
        whole.append(_psnr(vae, pixels))
        first.append(_psnr(vae, pixels[:, :, :1]))
        noise.append(_psnr(vae, noise_clips(1, 320, 192, 1, generator, device)))
    return {name: sum(values) / clips for name, values in (("clip", whole), ("first_frame", first), ("noise", noise))}


def _psnr(vae: AutoencoderKLWan, pixels: Tensor) -> float:
    restored = vae.decode(vae.encode(pixels * 2 - 1).latent_dist.mode()).sample.float().clamp(-1, 1) / 2 + 0.5
    return -10 * math.log10(float((restored - pixels).square().mean()))


@torch.no_grad()
def set_latent_statistics(vae: AutoencoderKLWan, device: str, seed: int, clips: int = 64) -> None:
    """Measure the latents' mean and standard deviation per channel and store them in the VAE's config."""
    scenes = sample_scenes(clips, torch.Generator().manual_seed(seed)).to(device)
    values = []
    for row in range(clips):
        pixels, _ = render(scenes.select(torch.tensor([row], device=device)), 320, 192, torch.arange(17), 33)
        values.append(vae.encode(pixels * 2 - 1).latent_dist.mode().float().transpose(0, 1).flatten(1))
    stacked = torch.cat(values, 1)
    vae.register_to_config(latents_mean=stacked.mean(1).tolist(), latents_std=stacked.std(1).tolist())
