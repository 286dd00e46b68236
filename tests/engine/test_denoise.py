"""Denoising: a seed's noise, and the estimate of the clean latents that previews show."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tests.support.observers import Recorder
from tests.support.requests import make_request
from wan_pipeline.engine.conditioning import Conditioning
from wan_pipeline.engine.decoding.preview import Preview
from wan_pipeline.engine.denoise import ExecutionDevice, estimate_clean, initial_noise, sample
from wan_pipeline.engine.loading.load import load_denoiser, quiet_libraries
from wan_pipeline.models.library import ModelLibrary
from wan_pipeline.requests.sampling.scheduler import SchedulerName

ON_CPU = ExecutionDevice(torch.device("cpu"))


@pytest.fixture
def denoiser(settings):
    quiet_libraries()
    return load_denoiser(ModelLibrary(settings).find("demo"), torch.device("cpu"), torch.float32)


class Lens(Preview):
    """A preview that records what it was shown."""

    def __init__(self):
        super().__init__(torch.zeros(2, 49, 48), 4)
        object.__setattr__(self, "seen", [])

    def frames(self, latents):
        self.seen.append(latents)
        return super().frames(latents)


def test_estimate_is_exact_on_a_straight_path():
    clean, noise = torch.randn(1, 48, 2, 4, 4), torch.randn(1, 48, 2, 4, 4)
    before, after = (sigma * noise + (1 - sigma) * clean for sigma in (0.9, 0.7))
    assert torch.allclose(estimate_clean(before, after, 0.9, 0.7), clean, atol=1e-5)


def test_the_noise_is_the_seeds(denoiser):
    request = make_request(width=96, height=64, num_frames=9)
    noise = initial_noise(denoiser, request)
    assert noise.shape == (1, 48, 3, 4, 6) and noise.dtype == torch.float32
    assert torch.equal(noise, initial_noise(denoiser, request))
    assert not torch.equal(noise, initial_noise(denoiser, replace(request, seed=1)))


@pytest.mark.parametrize("scheduler", list(SchedulerName))
@torch.inference_mode()
def test_the_estimate_converges_to_the_final_latents(denoiser, scheduler):
    request = make_request(width=96, height=64, num_frames=9, num_inference_steps=8, scheduler=scheduler)
    embeddings = [torch.randn(1, 64, 32, generator=torch.Generator().manual_seed(n)) for n in (0, 1)]
    lens = Lens()
    final = sample(denoiser, request, embeddings, Conditioning(), lens, Recorder(), ON_CPU)
    errors = [float((seen - final).abs().mean()) for seen in lens.seen]
    assert len(errors) == 8 and errors[-1] == 0
    assert errors[-2] < errors[0] / 2
    assert all(bool(torch.isfinite(seen).all()) for seen in lens.seen)


@torch.inference_mode()
def test_without_guidance_no_negative_prompt_is_needed(denoiser):
    request = make_request(width=96, height=64, num_frames=9, num_inference_steps=2, guidance_scale=1.0)
    latents = sample(denoiser, request, [torch.randn(1, 64, 32)], Conditioning(), Lens(), Recorder(), ON_CPU)
    assert latents.shape == (1, 48, 3, 4, 6)
