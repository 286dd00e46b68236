"""Offloading, with the CPU in the accelerator's place: the same hooks, the same latents, and no hook left."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from tests.support.observers import Recorder
from tests.support.requests import make_request
from wan_pipeline.engine.conditioning import Given
from wan_pipeline.engine.denoise import Where, sample
from wan_pipeline.engine.load import load_denoiser, quiet_libraries
from wan_pipeline.engine.memory.offload import encoding_on, on_device, on_device_when_called
from wan_pipeline.engine.preview import Preview
from wan_pipeline.errors import Cancelled
from wan_pipeline.models.library import ModelLibrary
from wan_pipeline.models.spec import Mode
from wan_pipeline.progress import Stage

CPU = torch.device("cpu")
PREVIEW = Preview(torch.zeros(2, 49, 48), 4)


@pytest.fixture
def denoiser(settings):
    quiet_libraries()
    return load_denoiser(ModelLibrary(settings).find("demo"), CPU, torch.float32)


def run(denoiser, image, visit, observer=None):
    mode = Mode.IMAGE_TO_VIDEO if image else Mode.TEXT_TO_VIDEO
    request = make_request(mode=mode, width=96, height=64, num_frames=9, num_inference_steps=3)
    embeddings = [torch.randn(1, 64, 32, generator=torch.Generator().manual_seed(n)) for n in (0, 1)]
    with torch.inference_mode():
        return sample(
            denoiser,
            request,
            embeddings,
            Given(image=image),
            PREVIEW,
            observer or Recorder(),
            visit and Where(visit, offloads=True),
        )


def has_hooks(denoiser) -> bool:
    return any(hasattr(part, "_hf_hook") for part in (denoiser.transformer, denoiser.vae))


@pytest.mark.parametrize("with_image", [False, True])
def test_offloaded_gives_the_same_latents_and_leaves_no_hook(denoiser, with_image):
    noise = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    image = Image.fromarray(noise) if with_image else None
    assert torch.equal(run(denoiser, image, None), run(denoiser, image, CPU))
    assert not has_hooks(denoiser)


def test_a_cancel_leaves_no_hook_either(denoiser):
    with pytest.raises(Cancelled):
        run(denoiser, None, CPU, Recorder(stop_at=(Stage.DENOISING, 1)))
    assert not has_hooks(denoiser)
    run(denoiser, None, None)


def test_a_visit_ends_where_it_began_also_after_an_error():
    module = torch.nn.Linear(2, 2)
    with pytest.raises(ValueError, match="in it"), on_device(module, torch.device("meta")):
        assert module.weight.device.type == "meta"
        module.to_empty(device="cpu")
        raise ValueError("in it")
    assert module.weight.device.type == "cpu"


def test_the_vae_encodes_elsewhere_and_in_tiles_only_within_the_block(denoiser):
    video = torch.zeros(1, 3, 1, 64, 96)
    wanted = denoiser.vae.encode(video).latent_dist.mean
    with encoding_on(denoiser.vae, CPU, in_tiles=True):
        assert denoiser.vae.use_tiling
        assert denoiser.vae.encode(video).latent_dist.mean.equal(wanted)  # one tile is enough
    assert not denoiser.vae.use_tiling and "encode" not in denoiser.vae.__dict__


def test_a_module_comes_for_each_call_and_goes_home():
    module, seen = torch.nn.Linear(2, 2), []
    module.register_forward_pre_hook(lambda part, _: seen.append(part.weight.device.type))
    with on_device_when_called(module, CPU):
        assert module(torch.zeros(1, 2)).shape == (1, 2)
    assert seen == ["cpu"] and len(module._forward_pre_hooks) == 1 and not module._forward_hooks
