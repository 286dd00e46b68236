"""Denoising: a seed's noise, and the estimate of the clean latents that previews show."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from PIL import Image

from tests.support.observers import Recorder
from tests.support.requests import make_request
from wan_pipeline.engine.conditioning import Conditioning
from wan_pipeline.engine.decoding.preview import Preview
from wan_pipeline.engine.denoise import ExecutionDevice, initial_noise, sample
from wan_pipeline.engine.loading.load import load_denoiser, quiet_libraries
from wan_pipeline.engine.step_callback import estimate_clean
from wan_pipeline.models.library import ModelLibrary
from wan_pipeline.models.spec import Mode
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


@torch.inference_mode()
def test_a_preview_sees_no_noise_where_the_image_will_be(denoiser):
    """What is noise till the last step would be remembered by a causal decoder."""
    request = make_request(mode=Mode.IMAGE_TO_VIDEO, width=96, height=64, num_frames=9, num_inference_steps=2)
    lens, image = Lens(), Conditioning(image=Image.new("RGB", (96, 64), "red"))
    sample(denoiser, request, [torch.randn(1, 64, 32)] * 2, image, lens, Recorder(), ON_CPU)
    for seen in lens.seen:
        assert seen.shape == (1, 48, 3, 4, 6) and torch.equal(seen[:, :, 0], seen[:, :, 1])
        assert not torch.equal(seen[:, :, 1], seen[:, :, 2])


SMALL, LARGE = {"width": 64, "height": 64}, {"width": 96, "height": 64}


def embeddings():
    return [torch.randn(1, 64, 32, generator=torch.Generator().manual_seed(n)) for n in (0, 1)]


@pytest.mark.parametrize("scheduler", list(SchedulerName))
@torch.inference_mode()
def test_the_first_steps_are_those_of_the_clip_whose_layout_is_kept(denoiser, scheduler):
    small = make_request(**SMALL, num_frames=9, num_inference_steps=8, scheduler=scheduler)
    lens, other, observer = Lens(), Lens(), Recorder()
    sample(denoiser, small, embeddings(), Conditioning(), other, Recorder(), ON_CPU)
    kept = replace(small, **LARGE, noise_size="64x64@0.65")
    latents = sample(denoiser, kept, embeddings(), Conditioning(), lens, observer, ON_CPU)
    assert latents.shape == (1, 48, 3, 4, 6) and bool(torch.isfinite(latents).all())
    first = [seen for seen in lens.seen if seen.shape[-1] == 4]
    assert len(first) == 5 and all(map(torch.equal, first, other.seen[:5]))  # 3 x 0.375 / 1.75 = 0.643
    assert [each.step for each in observer.reports] == list(range(1, 9))
    again = sample(denoiser, kept, embeddings(), Conditioning(), Lens(), Recorder(), ON_CPU)
    noise_alone = replace(kept, noise_size="64x64")
    other_way = sample(denoiser, noise_alone, embeddings(), Conditioning(), Lens(), Recorder(), ON_CPU)
    assert torch.equal(latents, again) and not torch.equal(latents, other_way)


@torch.inference_mode()
def test_a_single_step_is_the_clips_own(denoiser):
    one = make_request(**LARGE, num_frames=9, num_inference_steps=1, noise_size="64x64@0.65")
    made = [
        sample(denoiser, request, embeddings(), Conditioning(), Lens(), Recorder(), ON_CPU)
        for request in (one, replace(one, noise_size="64x64"))
    ]
    assert torch.equal(*made)


@torch.inference_mode()
def test_the_last_step_is_at_the_clips_own_size_even_where_no_step_ends_so_low(denoiser):
    request = make_request(**LARGE, num_frames=9, num_inference_steps=3, noise_size="64x64@0.001")
    lens = Lens()
    sample(denoiser, request, embeddings(), Conditioning(), lens, Recorder(), ON_CPU)
    assert [seen.shape[-1] for seen in lens.seen] == [4, 4, 6]
