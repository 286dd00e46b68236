"""oneDNN's convolutions compute what the stock ones do, in every part of both kinds of VAE."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from diffusers import AutoencoderKLWan

from tests.support import tiny
from wan_pipeline.engine.device.cpu_convolution import use_onednn


@pytest.fixture(scope="module", params=["16x", "8x"])
def vaes(request):
    """(stock, quick) with the same weights."""
    torch.manual_seed(0)
    stock = (tiny.vae_16x if request.param == "16x" else tiny.vae_8x)().eval()
    quick = AutoencoderKLWan.from_config(stock.config).eval()
    quick.load_state_dict(stock.state_dict())
    use_onednn(quick)
    return stock, quick


@pytest.mark.parametrize("frames", [1, 2, 5])
@torch.inference_mode()
def test_decodes_alike(vaes, frames):
    stock, quick = vaes
    latents = torch.randn(1, stock.config.z_dim, frames, 5, 7)
    difference = (stock.decode(latents).sample - quick.decode(latents).sample).abs().max()
    assert float(difference) < 1e-5


@pytest.mark.parametrize("frames", [1, 5, 17])
@torch.inference_mode()
def test_encodes_alike(vaes, frames):
    stock, quick = vaes
    video = torch.rand(2, 3, frames, 64, 96) * 2 - 1
    difference = (stock.encode(video).latent_dist.mode() - quick.encode(video).latent_dist.mode()).abs().max()
    assert float(difference) < 1e-5


@torch.inference_mode()
def test_in_bf16_it_decodes_on_processors_without_bf16_too(vaes):
    stock, quick = (deepcopy(vae).to(torch.bfloat16) for vae in vaes)
    latents = torch.randn(1, stock.config.z_dim, 2, 5, 7).bfloat16()
    difference = (stock.decode(latents).sample - quick.decode(latents).sample).abs().mean()
    assert float(difference) < 0.02


@torch.inference_mode()
def test_other_instances_stay_as_they_are(vaes):
    _, quick = vaes
    fresh = AutoencoderKLWan.from_config(quick.config)
    assert "forward" in vars(quick.decoder.conv_in)
    assert "forward" not in vars(fresh.decoder.conv_in)
