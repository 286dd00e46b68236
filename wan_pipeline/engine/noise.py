"""Noise and first steps at another clip's size, so that a clip keeps that clip's layout.

Where things are is settled while there is much noise. So a clip may begin with the noise of the other size, or make all
steps down to a noise level at that size, as the other clip was made; then the clean latents that they head for, and the
noise that is left, are brought to the clip's own size, and its other steps follow.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch

from wan_pipeline.engine.checkpoint import ResumeState
from wan_pipeline.engine.device.placement import CPU
from wan_pipeline.requests.request import GenerationRequest


@dataclass(frozen=True)
class FirstSteps:
    """Where the steps at the other size ended."""

    step: int
    """How many they were."""
    latents: torch.Tensor
    clean: torch.Tensor
    """The estimate of the clean latents."""
    noise_level: float
    seconds: float


def layout_request(request: GenerationRequest) -> tuple[GenerationRequest, float] | None:
    """The clip whose first steps these are, and the noise level down to which; None if they are its own.

    The last step is always the clip's own, so that one of a single step has no others.
    """
    begin = request.begin_size
    if begin is None or begin.level is None or request.num_inference_steps < 2:
        return None
    return replace(request, width=begin.width, height=begin.height, noise_size=""), begin.level


def enlarged(first: FirstSteps, size: tuple[int, int], generator: torch.Generator) -> ResumeState:
    """The state to go on from at the size (H, W) in latents; the detail of the noise comes from `generator`.

    The solver begins anew: what it remembers of steps at another size is of no use.
    """
    level, latents, clean = first.noise_level, first.latents.to(CPU).double(), first.clean.to(CPU).double()
    noise = (latents - (1 - level) * clean) / level
    ours = (1 - level) * resample_signal(clean, size) + level * resample_noise(noise, size, generator)
    return ResumeState(first.step, ours, {"_step_index": first.step}, first.seconds)


def resample_noise(noise: torch.Tensor, size: tuple[int, int], generator: torch.Generator) -> torch.Tensor:
    """Bring Gaussian noise (..., h, w) to the size (H, W), fp32; what it lacks in detail is drawn from `generator`.

    An orthonormal transform of white Gaussian noise is white Gaussian noise. So the cosine coefficients of the noise
    (DCT-II of each frame) become the lowest ones of the new noise, and fresh Gaussians the others: every value is unit
    Gaussian and independent of all others, given the size, as Chang et al., "How I Warped Your Noise" (ICLR 2024)
    demand of noise that is resampled; low frequencies of the noise are what fixes a video's layout (Wu et al.,
    "FreeInit", ECCV 2024). To a smaller size, the highest coefficients are dropped.
    """
    rows, columns = _lowest(noise.shape[-2], size[0]), _lowest(noise.shape[-1], size[1])
    fresh = torch.randn((*noise.shape[:-2], *size), generator=generator, dtype=torch.float32).double()
    kept_rows, kept_columns = _lowest(size[0], size[0], noise.shape[-2]), _lowest(size[1], size[1], noise.shape[-1])
    detail = fresh - kept_rows @ fresh @ kept_columns.T
    return (rows @ noise.double() @ columns.T + detail).float()


def _lowest(length: int, wanted: int, kept: int | None = None) -> torch.Tensor:
    """The matrix (wanted, length) that carries the lowest coefficients, at most `kept` of them, to another length."""
    count = min(length, wanted, kept or length)
    return _cosines(wanted)[:count].T @ _cosines(length)[:count]


def _cosines(length: int) -> torch.Tensor:
    """The orthonormal DCT-II as a matrix (frequency, place), fp64."""
    frequency, place = torch.arange(length, dtype=torch.float64).unsqueeze(1), torch.arange(length, dtype=torch.float64)
    matrix = torch.cos(math.pi * (place + 0.5) * frequency / length) * math.sqrt(2 / length)
    matrix[0] /= math.sqrt(2)
    return matrix


def resample_signal(signal: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Bring latents (..., h, w) to the size (H, W), fp32, by the same coefficients: levels stay as they are."""
    rows, columns = _lowest(signal.shape[-2], size[0]), _lowest(signal.shape[-1], size[1])
    scale = math.sqrt(size[0] * size[1] / (signal.shape[-2] * signal.shape[-1]))
    return (rows @ signal.double() @ columns.T * scale).float()
