"""Noise at another size is still unit Gaussian, and keeps its layout."""

from __future__ import annotations

import pytest
import torch

from wan_pipeline.engine.noise import resample_noise, resample_signal


@pytest.mark.parametrize("size", [(12, 20), (24, 32), (8, 16), (6, 9), (9, 30)])
def test_resampled_noise_is_white_and_unit_gaussian(size: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(3)
    noise = torch.randn((600, 4, 8, 12), generator=generator)
    made = resample_noise(noise, size, generator)
    assert made.shape == (600, 4, *size) and made.dtype == torch.float32
    samples = made.reshape(2400, -1)
    covariance = samples.T @ samples / len(samples)
    away = covariance - torch.eye(covariance.shape[0])
    # the entries of a sample covariance have a deviation of about 1 / sqrt(2400) = 0.02, of its diagonal 0.03
    assert float(away.diagonal().abs().mean()) < 0.04 and float(away.abs().mean()) < 0.02
    assert abs(float(made.mean())) < 0.01 and abs(float((made**4).mean()) - 3) < 0.1


def test_the_layout_holds_and_comes_again() -> None:
    noise = torch.randn((1, 4, 2, 8, 12), generator=torch.Generator().manual_seed(1))
    one, two = (resample_noise(noise, (12, 20), torch.Generator().manual_seed(2)) for _ in range(2))
    other = resample_noise(noise, (12, 20), torch.Generator().manual_seed(5))
    assert torch.equal(one, two) and not torch.equal(one, other)
    back = resample_noise(one, (8, 12), torch.Generator().manual_seed(9))
    assert torch.allclose(back, noise, atol=1e-5), "what is coarse is all there"


def test_a_signal_keeps_its_levels() -> None:
    ramp = torch.linspace(-1, 1, 12).expand(2, 8, 12)
    made = resample_signal(ramp, (12, 20))
    assert made.shape == (2, 12, 20) and torch.allclose(made.mean((1, 2)), ramp.mean((1, 2)), atol=1e-5)
    assert float((made - torch.linspace(-1, 1, 20)).abs().mean()) < 0.03
    assert torch.allclose(resample_signal(torch.full((1, 8, 12), 0.7), (24, 40)), torch.tensor(0.7))
