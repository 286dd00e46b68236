"""The preview: the right colours in the right places, small, and fitted once."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKLWan

from tests.support import tiny
from wan_pipeline.engine.decoding import preview
from wan_pipeline.engine.decoding.preview import Preview, load_preview
from wan_pipeline.settings import Settings


@pytest.fixture(scope="module")
def vae():
    torch.manual_seed(0)
    return tiny.vae_16x().eval()


def test_shape_type_and_limit(vae):
    look = Preview(torch.randn(2, 49, 48), block=4)
    assert look.frames(torch.randn(1, 48, 3, 4, 6)).shape == (3, 16, 24, 3)
    frames = look.frames(torch.randn(1, 48, 2, 45, 160))
    assert frames.shape == (2, 90, 320, 3) and frames.dtype == np.uint8


def test_each_vector_becomes_a_block_in_its_place():
    matrices = torch.zeros(2, 2, 3 * 4)
    matrices[:, 0] = 1.0
    latents = torch.full((1, 1, 1, 2, 3), -1.0)
    latents[0, 0, 0, 1, 2] = 1.0
    frame = Preview(matrices, block=2).frames(latents)[0]
    assert (frame[2:, 4:] == 255).all() and (frame[:2] == 0).all() and (frame[:, :4] == 0).all()


def test_the_first_frame_has_a_matrix_of_its_own():
    matrices = torch.zeros(2, 2, 3)
    matrices[0, -1], matrices[1, -1] = -1.0, 1.0
    frames = Preview(matrices, block=1).frames(torch.randn(1, 1, 3, 2, 2))
    assert (frames[0] == 0).all() and (frames[1:] == 255).all()


def test_least_squares_finds_a_linear_map():
    truth, offset = torch.randn(5, 3, dtype=torch.float64), torch.randn(3, dtype=torch.float64)
    vectors = torch.randn(500, 5, dtype=torch.float64)
    matrix = preview.least_squares(vectors, vectors @ truth + offset)
    assert torch.allclose(matrix, torch.cat([truth, offset.unsqueeze(0)]), atol=0.01)


DEMO = Settings().demo_checkpoint


def psnr(a, b):
    return -10 * float(torch.log10(((a.float() - b.float()) / 255).square().mean()))


@pytest.mark.skipif(not (DEMO / "vae").is_dir(), reason="needs a trained VAE; random ones keep no colours")
@torch.inference_mode()
@pytest.mark.soak
def test_shows_what_a_trained_model_will_decode():
    vae = AutoencoderKLWan.from_pretrained(DEMO / "vae", torch_dtype=torch.float32).eval()
    generator = torch.Generator().manual_seed(7)
    picture = F.interpolate(torch.rand(1, 3, 4, 4, generator=generator) * 2 - 1, size=128, mode="bicubic").clamp(-1, 1)
    clip = picture.unsqueeze(2).repeat(1, 1, 17, 1, 1)
    mean, std = (torch.tensor(vae.config[name]).view(1, -1, 1, 1, 1) for name in ("latents_mean", "latents_std"))
    latents = (vae.encode(clip).latent_dist.mode() - mean) / std
    frames = torch.from_numpy(Preview(preview.fit(vae, 4), 4).frames(latents))
    wanted = F.interpolate(picture, size=32, mode="area")[0].permute(1, 2, 0) * 127.5 + 127.5
    assert all(psnr(frame, wanted) > 22 for frame in frames)


@torch.inference_mode()
def test_is_fitted_once_and_survives_a_damaged_cache(vae, tmp_path, monkeypatch):
    first = load_preview(vae, tmp_path, "print")
    (path,) = tmp_path.iterdir()
    path.write_bytes(b"damaged")
    assert torch.equal(load_preview(vae, tmp_path, "print").matrices, first.matrices)
    monkeypatch.setattr(preview, "fit", None)
    assert torch.equal(load_preview(vae, tmp_path, "print").matrices, first.matrices)
