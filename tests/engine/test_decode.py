"""Decoding: the pipeline's own frames, reported one by one and stopped between them, whole or in tiles."""

from __future__ import annotations

from copy import deepcopy
from itertools import pairwise, product

import pytest
import torch
from diffusers.video_processor import VideoProcessor

from tests.support import tiny
from tests.support.observers import Recorder
from tests.support.soak import soaked
from wan_pipeline.engine.decoding.decode import decode, decoder_passes, denormalise, tile_spans
from wan_pipeline.errors import Cancelled, GenerationError
from wan_pipeline.progress import Stage


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


@pytest.fixture(scope="module")
def small_vae():
    torch.manual_seed(0)
    return tiny.vae_8x().eval()


@pytest.fixture
def wide():
    """Of 160 x 104 pixels; smooth, as pictures are."""
    noise = torch.randn(1, 16, 2, 4, 5, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.interpolate(noise, size=(2, 13, 20), mode="trilinear", align_corners=True)


def test_tiles_of_any_size_cover_the_picture():
    sides = (1, 7, 8, 9, 12, 31, 60, 104, 135, 240)
    tiles = (0, 1, 2, 3, 5, 8, 9, 13, 16, 31, 32, 48, 64, 240)
    for side, tile, overlap in product(sides, tiles, (4, 8)):
        case = f"{side=} {tile=} {overlap=}"
        spans = tile_spans(side, tile, overlap)
        covered = [pixel for span in spans for pixel in range(span.start, span.stop)]
        assert set(covered) == set(range(side)), case
        assert len({span.stop - span.start for span in spans}) == 1, case
        if tile >= 2 * overlap:
            shared = [before.stop - after.start for before, after in pairwise(spans)]
            assert all(width >= overlap for width in shared), case
        if tile and tile < side:
            assert len(covered) <= (side + tile) * tile / (tile - min(overlap, tile // 2)), case


@torch.inference_mode()
@pytest.mark.parametrize("tile", [136, 96, 88])
def test_blended_tiles_are_nearly_the_whole_frames(small_vae, wide, tile):
    whole, tiled = (decode(small_vae, wide, Recorder(), side).astype(int) for side in (0, tile))
    assert tiled.shape == whole.shape == (5, 104, 160, 3)
    shifted = abs(whole[:, 8:] - whole[:, :-8]).mean()  # by one latent pixel
    assert 0 < abs(tiled - whole).mean() < 0.6 * shifted and abs(tiled - whole).max() < 32


@torch.inference_mode()
def test_a_tile_as_large_as_the_picture_is_the_picture(small_vae, wide):
    whole = decode(small_vae, wide, Recorder())
    for tile in (160, 1000, 7):  # less than one latent pixel is none
        assert decoder_passes(small_vae, wide, tile) == 2
        assert (decode(small_vae, wide, Recorder(), tile) == whole).all()


@torch.inference_mode()
@pytest.mark.parametrize("tile", [0, 80, 96])
def test_passes_are_counted_before_they_are_made(small_vae, wide, tile):
    observer, passes = Recorder(), []
    hook = small_vae.decoder.register_forward_hook(lambda *_: passes.append(1))
    decode(small_vae, wide, observer, tile)
    hook.remove()
    total = decoder_passes(small_vae, wide, tile)
    assert len(passes) == total
    assert [(report.step, report.total) for report in observer.of(Stage.DECODING)] == [(n, total) for n in range(total)]


@torch.inference_mode()
@pytest.mark.parametrize("tile", [0, soaked(96)])
def test_in_bf16_the_frames_are_nearly_the_same(small_vae, wide, tile):
    exact = decode(small_vae, wide, Recorder(), tile).astype(int)
    frames = decode(deepcopy(small_vae).to(torch.bfloat16), wide, Recorder(), tile).astype(int)
    assert 0 < abs(frames - exact).max() < 16 and abs(frames - exact).mean() < 2


@torch.inference_mode()
@pytest.mark.soak
def test_stopped_between_tiles_the_decoder_is_clean(small_vae, wide):
    before = decode(small_vae, wide, Recorder(), 96)
    with pytest.raises(Cancelled):
        decode(small_vae, wide, Recorder(stop_at=(Stage.DECODING, 3)), 96)
    assert all(kept is None for kept in small_vae._feat_map)
    assert (decode(small_vae, wide, Recorder(), 96) == before).all()


@torch.inference_mode()
def test_what_is_not_a_number_is_an_error(vae, latents):
    latents[0, 0, 1] = float("nan")
    with pytest.raises(GenerationError, match="VAE weights"):
        decode(vae, latents, Recorder())
