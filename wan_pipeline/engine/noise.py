"""Noise at another size: the same layout, and still independent unit Gaussians."""

from __future__ import annotations

import math

import torch


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
