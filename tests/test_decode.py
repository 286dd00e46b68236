"""Decoding: the pipeline's own frames, reported one by one, stopped between them."""

from __future__ import annotations

import pytest
import torch
from diffusers.video_processor import VideoProcessor

from tests import tiny
from tests.observers import Recorder
from wan_pipeline.engine.decode import decode, denormalise
from wan_pipeline.engine.progress import Stage
from wan_pipeline.errors import Cancelled, GenerationError


@pytest.fixture(scope="module")
def vae():
    torch.manual_seed(0)
    return tiny.vae_16x().eval()


@pytest.fixture
def latents():
    return torch.randn(1, 48, 3, 4, 6, generator=torch.Generator().manual_seed(0))


@torch.inference_mode()
def test_frames_are_those_of_the_pipeline(vae, latents):
    frames = decode(vae, latents, Recorder())
    assert frames.shape == (9, 64, 96, 3)
    video = vae.decode(latents * 1.5 + 0.1, return_dict=False)[0]
    expected = (VideoProcessor().postprocess_video(video)[0] * 255).round().astype("uint8")
    assert abs(frames.astype(int) - expected.astype(int)).max() <= 1


def test_denormalise_undoes_the_statistics(vae, latents):
    assert torch.allclose(denormalise(vae, (latents - 0.1) / 1.5), latents, atol=1e-6)


@torch.inference_mode()
def test_each_latent_frame_is_reported(vae, latents):
    observer = Recorder()
    decode(vae, latents, observer)
    assert [(report.step, report.total) for report in observer.of(Stage.DECODING)] == [(0, 3), (1, 3), (2, 3)]
    assert observer.reports[-1].eta_seconds is not None


@torch.inference_mode()
def test_stops_between_frames_and_leaves_the_decoder_clean(vae, latents):
    before = decode(vae, latents, Recorder())
    observer = Recorder(stop_at=(Stage.DECODING, 1))
    with pytest.raises(Cancelled):
        decode(vae, latents, observer)
    assert observer.reports[-1].step == 1
    assert not vae.decoder._forward_pre_hooks
    assert all(kept is None for kept in vae._feat_map)
    assert (decode(vae, latents, Recorder()) == before).all()


@torch.inference_mode()
def test_what_is_not_a_number_is_an_error(vae, latents):
    latents[0, 0, 1] = float("nan")
    with pytest.raises(GenerationError, match="VAE weights"):
        decode(vae, latents, Recorder())
