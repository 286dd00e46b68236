"""Flow matching: examples with noise, what the model should say of them, and how far it is from that.

Along a flow x = clean + sigma * (noise - clean) with sigma from 0 to 1, the model predicts the velocity noise - clean.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

TRAIN_TIMESTEPS = 1000
"""The model's time is this times sigma."""


@dataclass(frozen=True)
class NoiseRange:
    """The noise levels that a transformer is responsible for, from 0 to 1."""

    low: float = 0.0
    high: float = 1.0


@dataclass(frozen=True)
class Noisy:
    """A batch as the transformer reads it."""

    latents: Tensor
    """(batch, channels, latent frames, height, width)."""
    timestep: Tensor
    """(batch), or (batch, tokens) for models with a time for every token."""
    velocity: Tensor
    """What should be predicted, of the shape of the latents."""
    counted: Tensor
    """1 where the loss counts, (batch, 1, latent frames, 1, 1): not where a frame was given."""

    beside: Tensor | None = None
    """What the transformer reads beside the latents, in channels of its own; see `Given`."""
    image: Tensor | None = None

    def to(self, device: torch.device, dtype: torch.dtype) -> Noisy:
        """On the device; the latents in `dtype`, the others in fp32."""
        beside, image = (None if value is None else value.to(device, dtype) for value in (self.beside, self.image))
        return Noisy(
            self.latents.to(device, dtype),
            self.timestep.to(device),
            self.velocity.to(device),
            self.counted.to(device),
            beside,
            image,
        )

    def with_given(self, given: Given) -> Noisy:
        return replace(self, beside=given.beside, image=given.image)


@dataclass(frozen=True)
class Given:
    """The first frames of a batch, for models whose clips start from an image."""

    beside: Tensor | None = None
    """Mask and latents, (batch, channels, latent frames, height, width)."""
    image: Tensor | None = None
    """Embeddings by the image encoder, (batch, tokens, width), for models that have one."""


def noise_levels(
    count: int, shift: float, uniform_share: float, generator: torch.Generator, within: NoiseRange
) -> Tensor:
    """Sigmas (count,), fp32: logit-normal or uniform, then shifted to where the model samples, and within the range.

    Both distributions and the shift are those of SD3 (arXiv 2403.03206). What falls outside the range is drawn again.
    """
    levels = torch.empty(count)
    missing = torch.ones(count, dtype=torch.bool)
    while bool(missing.any()):
        left = int(missing.sum())
        normal = torch.sigmoid(torch.randn(left, generator=generator))
        uniform = torch.rand(left, generator=generator)
        is_uniform = torch.rand(left, generator=generator) < uniform_share
        sigma = torch.where(is_uniform, uniform, normal)
        levels[missing] = shift * sigma / (1 + (shift - 1) * sigma)
        missing = (levels < within.low) | (levels > within.high)
    return levels


def add_noise(clean: Tensor, noise: Tensor, sigma: Tensor, given: Tensor, patch: tuple[int, int, int] | None) -> Noisy:
    """Noisy latents of clean ones (batch, channels, frames, height, width), at the noise levels `sigma` (batch).

    Where `given` (batch, bool) is true the first latent frame stays clean, has time 0 and does not count. `patch` is
    the transformer's patch size if it reads a time for every token, else None.
    """
    batch, _, frames, height, width = clean.shape
    level = sigma.view(-1, 1, 1, 1, 1)
    is_first = (torch.arange(frames) == 0).view(1, 1, -1, 1, 1)
    fixed = given.view(-1, 1, 1, 1, 1) & is_first
    noisy = torch.where(fixed, clean, clean + level * (noise - clean))
    if patch is None:
        timestep = sigma * TRAIN_TIMESTEPS
    else:
        of_frame = torch.where(fixed, 0.0, level * TRAIN_TIMESTEPS).expand(batch, 1, frames, 1, 1)[
            :, 0, :: patch[0], 0, 0
        ]
        timestep = of_frame.repeat_interleave((height // patch[1]) * (width // patch[2]), dim=1)
    return Noisy(noisy, timestep, noise - clean, (~fixed).float().expand(batch, 1, frames, 1, 1))


def flow_loss(predicted: Tensor, noisy: Noisy) -> Tensor:
    """Mean squared error of the velocity where it counts, fp32, a scalar."""
    error = (predicted.float() - noisy.velocity).square() * noisy.counted
    return error.sum() / (noisy.counted.sum() * (error.numel() / noisy.counted.numel()))
