"""A fast training step for the autoencoder: the faster memory layout, norms in the activations' dtype."""

from __future__ import annotations

import functools
import logging
import time

import torch
from diffusers import AutoencoderKLWan
from diffusers.models.autoencoders.autoencoder_kl_wan import WanRMS_norm
from torch import Tensor, nn

from training.replay import Replay

log = logging.getLogger(__name__)

KL_WEIGHT = 1e-4
"""Small: it bounds the latents, and their noise stays below what is visible after decoding."""
DECIBEL_WEIGHT = 0.02
"""Weight of each clip's log squared error, which is what PSNR measures: without it the hardest scenes dominate."""


class VaeStep:
    """Forward and backward pass on clips of one shape."""

    def __init__(self, vae: AutoencoderKLWan, count: int, frames: int, width: int, height: int, device: str) -> None:
        self.vae, self.device = vae, device
        self.pixels = torch.zeros(count, 3, frames, height, width, device=device)
        self.weight = torch.ones(count, 1, frames, height, width, device=device)
        self.replay = Replay(self._loss, list(vae.parameters()), device)

    def _loss(self) -> Tensor:
        with torch.autocast(self.device, torch.bfloat16, enabled=self.device == "cuda", cache_enabled=False):
            posterior = self.vae.encode(self.pixels).latent_dist
            restored = self.vae.decode(posterior.sample()).sample.float()
        error = restored - self.pixels
        reconstruction = (self.weight * (error.abs() + 3.0 * error.square())).mean()
        decibels = torch.log(error.square().mean((1, 2, 3, 4)) + 1e-6).mean()
        spread = 0.5 * (posterior.mean.square() + posterior.var - 1 - posterior.logvar).float().mean()
        loss: Tensor = reconstruction + DECIBEL_WEIGHT * decibels + KL_WEIGHT * spread
        return loss

    def __call__(self, pixels: Tensor, weight: Tensor) -> Tensor:
        self.pixels.copy_(pixels)
        self.weight.copy_(weight)
        return self.replay()


def fast_norm(gamma: nn.Parameter, x: Tensor) -> Tensor:
    """WanRMS_norm in the activations' dtype; autocast would run it in fp32."""
    with torch.autocast(x.device.type, enabled=False):
        scale = torch.rsqrt(
            torch.linalg.vector_norm(x, dim=1, keepdim=True, dtype=torch.float32).square() / x.shape[1] + 1e-8
        )
        return x * scale.to(x.dtype) * gamma.to(x.dtype)


def set_layout(vae: nn.Module, layout: torch.memory_format) -> None:
    """Convert the weights of all 3-D convolutions to a memory layout."""
    for module in vae.modules():
        if isinstance(module, nn.Conv3d):
            module.weight.data = module.weight.data.contiguous(memory_format=layout)


def fastest_layout(vae: AutoencoderKLWan, count: int, frames: int, width: int, height: int) -> torch.memory_format:
    """Measure a training step in each memory layout of 3-D convolutions and return the fastest on this GPU."""
    seconds: dict[torch.memory_format, float] = {}
    for layout in (torch.contiguous_format, torch.channels_last_3d):
        set_layout(vae, layout)
        step = VaeStep(vae, count, frames, width, height, "cuda")
        torch.cuda.synchronize()
        started = time.monotonic()
        for _ in range(4):
            step(step.pixels, step.weight)
        torch.cuda.synchronize()
        seconds[layout] = (time.monotonic() - started) / 4
        log.info("vae step with %s: %.4f s", layout, seconds[layout])
    return min(seconds, key=lambda layout: seconds[layout])


def with_fast_norms(vae: AutoencoderKLWan) -> AutoencoderKLWan:
    """Replace this model's norms by the fast ones, in place; `plain_copy` returns a model with the original ones."""
    for module in vae.modules():
        if isinstance(module, WanRMS_norm):
            module.forward = functools.partial(fast_norm, module.gamma)
    return vae
