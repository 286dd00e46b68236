"""Latents -> frames."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKLWan
from numpy.typing import NDArray

from wan_pipeline.engine.progress import Observer, Progress, Stage, check_cancelled
from wan_pipeline.errors import GenerationError


def decode(vae: AutoencoderKLWan, latents: torch.Tensor, observer: Observer) -> NDArray[np.uint8]:
    """Frames (T, H, W, 3) of normalised latents (1, channels, latent frames, h, w).

    Raises Cancelled between latent frames, GenerationError if the decoder's output is not a number.
    """
    with _watched(vae, decoder_passes(vae, latents), observer):
        video = vae.decode(denormalise(vae, latents.to(torch.float32)), return_dict=False)[0][0]
    if not bool(torch.isfinite(video).all()):
        raise GenerationError("The decoder gave values that are not numbers; the model's VAE weights are damaged.")
    pixels = video.add(1).mul_(127.5).round_().clamp_(0, 255).to(torch.uint8)
    frames: NDArray[np.uint8] = pixels.permute(1, 2, 3, 0).contiguous().cpu().numpy()
    return frames


def decoder_passes(vae: AutoencoderKLWan, latents: torch.Tensor) -> int:
    """How often the decoder runs: once for each latent frame, or for each tile of each."""
    frames, *sides = map(int, latents.shape[2:])
    ratio = vae.spatial_compression_ratio
    largest = (vae.tile_sample_min_height // ratio, vae.tile_sample_min_width // ratio)
    if not vae.use_tiling or all(side <= limit for side, limit in zip(sides, largest, strict=True)):
        return frames
    strides = (vae.tile_sample_stride_height // ratio, vae.tile_sample_stride_width // ratio)
    tiles: list[int] = [math.ceil(side / stride) for side, stride in zip(sides, strides, strict=True)]
    return frames * math.prod(tiles)


def denormalise(vae: AutoencoderKLWan, latents: torch.Tensor) -> torch.Tensor:
    """From the unit variance that the transformer knows to the VAE's own scale."""
    mean, std = (value.to(latents) for value in latent_scale(vae))
    return latents * std + mean


def latent_scale(vae: AutoencoderKLWan) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and deviation of the VAE's latents, fp32 (1, channels, 1, 1, 1) on the CPU."""
    mean, std = (
        torch.tensor(values).view(1, -1, 1, 1, 1) for values in (vae.config.latents_mean, vae.config.latents_std)
    )
    return mean, std


@contextmanager
def _watched(vae: AutoencoderKLWan, total: int, observer: Observer) -> Iterator[None]:
    """Report and ask before each of the decoder's `total` passes."""
    started, done = time.monotonic(), -1

    def before_pass(*_: Any) -> None:
        nonlocal done
        check_cancelled(observer)
        done += 1
        eta = (time.monotonic() - started) / done * (total - done) if done else None
        observer.progress(Progress(Stage.DECODING, done, total, eta))

    hook = vae.decoder.register_forward_pre_hook(before_pass)
    try:
        yield
    finally:
        hook.remove()
        vae.clear_cache()  # a decoder stopped half way keeps the frames it has seen
