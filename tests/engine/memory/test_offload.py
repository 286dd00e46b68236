"""Offloading, with the CPU in the accelerator's place: the same hooks, the same latents, and no hook left."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from tests.support.observers import Recorder
from tests.support.requests import make_request
from wan_pipeline.engine.conditioning import Conditioning
from wan_pipeline.engine.decoding.preview import Preview
from wan_pipeline.engine.denoise import ExecutionDevice, sample
from wan_pipeline.engine.loading.load import load_denoiser, quiet_libraries
from wan_pipeline.engine.memory.offload import encode_on_device, forward_on_device, on_device, tiled_encode
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


def run(denoiser, image, *, offloads, observer=None):
    mode = Mode.IMAGE_TO_VIDEO if image else Mode.TEXT_TO_VIDEO
    request = make_request(mode=mode, width=96, height=64, num_frames=9, num_inference_steps=3)
    embeddings = [torch.randn(1, 64, 32, generator=torch.Generator().manual_seed(n)) for n in (0, 1)]
    with torch.inference_mode():
        return sample(
            denoiser,
            request,
            embeddings,
            Conditioning(image=image),
            PREVIEW,
            observer or Recorder(),
            ExecutionDevice(CPU, offloads=offloads),
        )


def has_hooks(denoiser) -> bool:
    return any(hasattr(part, "_hf_hook") for part in (denoiser.transformer, denoiser.vae))


@pytest.mark.parametrize("with_image", [False, True])
def test_offloaded_gives_the_same_latents_and_leaves_no_hook(denoiser, with_image):
    noise = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    image = Image.fromarray(noise) if with_image else None
    assert torch.equal(run(denoiser, image, offloads=False), run(denoiser, image, offloads=True))
    assert not has_hooks(denoiser)


def test_a_cancel_leaves_no_hook_either(denoiser):
    with pytest.raises(Cancelled):
        run(denoiser, None, offloads=True, observer=Recorder(stop_at=(Stage.DENOISING, 1)))
    assert not has_hooks(denoiser)
    run(denoiser, None, offloads=False)


def test_on_device_ends_on_the_home_device_also_after_an_error():
    module = torch.nn.Linear(2, 2)
    with pytest.raises(ValueError, match="in it"), on_device(module, torch.device("meta")):
        assert module.weight.device.type == "meta"
        module.to_empty(device="cpu")
        raise ValueError("in it")
    assert module.weight.device.type == "cpu"


def test_the_vae_encodes_on_the_device_and_in_tiles_only_within_the_block(denoiser):
    video = torch.zeros(1, 3, 1, 64, 96)
    wanted = denoiser.vae.encode(video).latent_dist.mean
    with encode_on_device(denoiser.vae, CPU), tiled_encode(denoiser.vae):
        assert denoiser.vae.use_tiling
        assert denoiser.vae.encode(video).latent_dist.mean.equal(wanted)  # one tile is enough
    assert not denoiser.vae.use_tiling and "encode" not in denoiser.vae.__dict__


def test_a_module_is_on_the_device_for_each_forward():
    module, seen = torch.nn.Linear(2, 2), []
    module.register_forward_pre_hook(lambda part, _: seen.append(part.weight.device.type))
    with forward_on_device(module, CPU):
        assert module(torch.zeros(1, 2)).shape == (1, 2)
    assert seen == ["cpu"] and len(module._forward_pre_hooks) == 1 and not module._forward_hooks
