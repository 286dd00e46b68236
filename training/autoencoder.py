"""The autoencoder's training: pictures first, in many short cut-outs; then time, on the longest clips."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLWan
from torch import Tensor

from training import architecture
from training.common import DENOISER, Average, Clock, apply_gradients, optimizer_for, write_record
from training.pixels import PixelPool, wild_clips
from training.team import Team
from training.vae_step import VaeStep, quickest_layout, set_layout, with_quick_norms
from wan_pipeline.demo.scenes import draw_lots, render

log = logging.getLogger(__name__)

WIDTH, HEIGHT = 320, 192
SHORT, LONG = 9, 49
"""Frames of the autoencoder's training windows: short ones teach it pictures; its causal convolutions remember more
than that, so a last round on the longest clips teaches it to stay steady (19 dB without, at 33 frames)."""


def train_pictures(minutes: float, work: Path, batch: int, seed: int, team: Team) -> None:
    """First round, from random weights: cut-outs of 128x128, then whole frames, a few frames long."""
    torch.manual_seed(seed)  # before the weights, which must be the same everywhere
    clock = Clock(minutes, agree=team.agree)
    vae = with_quick_norms(architecture.make_vae().to(team.device).train())
    torch.manual_seed(seed + team.rank)
    on_gpu = team.device == "cuda"
    if on_gpu:
        set_layout(vae, quickest_layout(vae, batch, SHORT, 128, 128))
    pool = PixelPool(6000 if on_gpu else 16, SHORT, WIDTH, HEIGHT, team.device, seed + team.rank)
    for _ in range(100 if on_gpu else 1):
        pool.add(16)
    rounds = [
        (0.8, VaeStep(vae, batch, SHORT, 128, 128, team.device)),
        (1.0, VaeStep(vae, max(batch // 4, 1), SHORT, WIDTH, HEIGHT, team.device)),
    ]
    losses = fit(vae, rounds, pool, clock, 2e-3, 16, team)
    facts = {"stage": "pictures", "minutes": minutes, "steps": clock.step, "batch": batch * team.size, "seed": seed}
    finish(vae, work, facts, losses, team)


def train_steadiness(minutes: float, work: Path, batch: int, seed: int, team: Team) -> None:
    """Second round, from the weights of the first: whole clips of the greatest length."""
    seed += 7
    torch.manual_seed(seed + team.rank)
    clock = Clock(minutes, agree=team.agree)
    vae = with_quick_norms(AutoencoderKLWan.from_pretrained(work / "vae").to(team.device).train())
    on_gpu = team.device == "cuda"
    if on_gpu:
        set_layout(vae, torch.channels_last_3d)
    pool = PixelPool(240 if on_gpu else 4, LONG, WIDTH, HEIGHT, team.device, seed + team.rank)
    for _ in range(24 if on_gpu else 1):
        pool.add(4)
    clips = max(batch // 16, 1)
    rounds = [(1.0, VaeStep(vae, clips, LONG, WIDTH, HEIGHT, team.device))]
    losses = fit(vae, rounds, pool, clock, 6e-4, 4, team)
    facts = {"stage": "steadiness", "minutes": minutes, "steps": clock.step, "batch": clips * team.size, "seed": seed}
    finish(vae, work, facts, losses, team)


def fit(
    vae: AutoencoderKLWan,
    rounds: list[tuple[float, VaeStep]],
    pool: PixelPool,
    clock: Clock,
    peak: float,
    renew: int,
    team: Team,
) -> list[list[float]]:
    """Run each step until its share of the clock is over; leaves the averaged weights in `vae`, returns the losses."""
    average = Average(vae, 0.999)
    optimizer = optimizer_for([{"params": list(vae.parameters()), "peak": peak}])
    losses = []
    log.info("autoencoder ready after %.2f min", clock.elapsed)
    for until, step in rounds:
        while clock.done < until:
            count, _, _, height, width = step.pixels.shape
            loss = step(*pool.windows(count, width, height))
            team.average_gradients(vae)
            apply_gradients([optimizer], vae, clock)
            average.update(clock.step)
            if clock.step % 5 == 0:
                pool.add(renew)
            if clock.step % 250 == 1:
                losses.append([clock.step, round(clock.elapsed, 2), loss.item()])
                log.info("autoencoder step %d  %.2f min  loss %.4f", *losses[-1])
    average.install()
    return losses


def finish(vae: AutoencoderKLWan, work: Path, facts: dict[str, Any], losses: list[list[float]], team: Team) -> None:
    """Write the weights, then judge them on unseen scenes.

    The latents' mean and deviation are measured anew only while no denoiser has learned their scale.
    """
    if not team.leads:
        return
    plain = plain_copy(vae).to(team.device).eval()
    if not (work / DENOISER).exists():
        set_latent_statistics(plain, team.device, 2)
    plain.save_pretrained(work / "vae", max_shard_size="14MB")
    score = psnr(plain, team.device, 1)
    log.info("PSNR on unseen scenes: %s", score)
    write_record(work, {**facts, "psnr_db": score, "losses": losses}, team.device, team.size)


def plain_copy(vae: AutoencoderKLWan) -> AutoencoderKLWan:
    """The same weights and latent scale in an untouched model: plain norms, plain layout."""
    plain = architecture.make_vae(vae.config.z_dim)
    plain.register_to_config(latents_mean=vae.config.latents_mean, latents_std=vae.config.latents_std)
    plain.load_state_dict({name: value.detach().cpu().contiguous() for name, value in vae.state_dict().items()})
    return plain


@torch.no_grad()
def psnr(vae: AutoencoderKLWan, device: str, seed: int, clips: int = 12) -> dict[str, float]:
    """Mean over clips of the peak signal-to-noise ratio in dB: whole clips, first frames alone, and noise pictures."""
    generator = torch.Generator().manual_seed(seed)
    lots = draw_lots(clips, generator, held_out=True, styled=0.0).to(device)
    whole, first, wild = [], [], []
    for row in range(clips):
        pixels, _ = render(lots.select(torch.tensor([row], device=device)), 320, 192, torch.arange(33), 33)
        whole.append(_psnr(vae, pixels))
        first.append(_psnr(vae, pixels[:, :, :1]))
        wild.append(_psnr(vae, wild_clips(1, 320, 192, 1, generator, device)))
    return {name: sum(values) / clips for name, values in (("clip", whole), ("first_frame", first), ("noise", wild))}


def _psnr(vae: AutoencoderKLWan, pixels: Tensor) -> float:
    restored = vae.decode(vae.encode(pixels * 2 - 1).latent_dist.mode()).sample.float().clamp(-1, 1) / 2 + 0.5
    return -10 * math.log10(float((restored - pixels).square().mean()))


@torch.no_grad()
def set_latent_statistics(vae: AutoencoderKLWan, device: str, seed: int, clips: int = 64) -> None:
    """Write per-channel mean and deviation of latents into the VAE's config, where the pipelines look for them."""
    lots = draw_lots(clips, torch.Generator().manual_seed(seed)).to(device)
    values = []
    for row in range(clips):
        pixels, _ = render(lots.select(torch.tensor([row], device=device)), 320, 192, torch.arange(17), 33)
        values.append(vae.encode(pixels * 2 - 1).latent_dist.mode().float().transpose(0, 1).flatten(1))
    stacked = torch.cat(values, 1)
    vae.register_to_config(latents_mean=stacked.mean(1).tolist(), latents_std=stacked.std(1).tolist())
