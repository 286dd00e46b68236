"""Previews by a small decoder in people's files: what it computes, which file is used, and that no clip is harmed."""

from __future__ import annotations

import shutil
from itertools import count, pairwise

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from tests.support.observers import Recorder
from tests.support.requests import make_request
from wan_pipeline.engine.decoding.preview import Preview
from wan_pipeline.engine.decoding.tiny.files import find_decoder, read_decoder
from wan_pipeline.engine.decoding.tiny.preview import LATENTS, SHARE, ClipPreview, decoded
from wan_pipeline.engine.engine import Engine
from wan_pipeline.errors import ModelError
from wan_pipeline.progress import Stage

WAN_2_1, WAN_2_2 = (16, 1), (48, 2)
"""Latent channels and patch of the two VAEs."""
WIDTHS = (8, 6, 4, 4)


def published(channels: int, patch: int, seed: int = 0) -> dict[str, torch.Tensor]:
    """Random tensors by the names of TAEHV's files, narrower, with one of the encoder's."""
    generator = torch.Generator().manual_seed(seed)
    shapes = {"decoder.1": (WIDTHS[0], channels, 3), "decoder.22": (3 * patch**2, WIDTHS[3], 3)}
    for stage, (width, following) in enumerate(pairwise(WIDTHS)):
        first = 3 + 6 * stage
        for block in range(first, first + 3):
            shapes |= {f"decoder.{block}.conv.{layer}": (width, width * (2 - bool(layer)), 3) for layer in (0, 2, 4)}
        shapes[f"decoder.{first + 4}.conv"] = (width * (1, 2, 2)[stage], width, 1)
        shapes[f"decoder.{first + 5}"] = (following, width, 3)
    without_bias = {f"decoder.{number}" for number in (8, 14, 20)} | {f"decoder.{n}.conv" for n in (7, 13, 19)}
    tensors = {"encoder.0.weight": torch.ones(4, 3 * patch**2, 3, 3)}
    for name, (outputs, inputs, side) in shapes.items():
        scale = (2 / (inputs * side**2)) ** 0.5
        tensors[f"{name}.weight"] = torch.randn(outputs, inputs, side, side, generator=generator) * scale
        if name not in without_bias:
            tensors[f"{name}.bias"] = torch.randn(outputs, generator=generator) * 0.1
    tensors["decoder.22.bias"] += 0.5
    return tensors


def all_frames(tensors: dict[str, torch.Tensor], latents: torch.Tensor, patch: int) -> torch.Tensor:
    """Four frames of each latent frame, layer by layer over the whole clip, in the order that the file has."""

    def convolved(x: torch.Tensor, name: str) -> torch.Tensor:
        weight = tensors[f"{name}.weight"]
        return F.conv2d(x, weight, tensors.get(f"{name}.bias"), padding=weight.shape[-1] // 2)

    x = convolved(3 * torch.tanh(latents / 3), "decoder.1").relu()
    for first in (3, 9, 15):
        for block in range(first, first + 3):
            y = torch.cat([x, torch.cat([x[:1] * 0, x[:-1]])], 1)
            for layer in (0, 2):
                y = convolved(y, f"decoder.{block}.conv.{layer}").relu()
            x = (convolved(y, f"decoder.{block}.conv.4") + x).relu()
        x = convolved(x.repeat_interleave(2, 2).repeat_interleave(2, 3), f"decoder.{first + 4}.conv")
        width = tensors[f"decoder.{first + 4}.conv.weight"].shape[1]
        x = torch.cat([each for frame in x.split(1) for each in frame.split(width, 1)])
        x = convolved(x, f"decoder.{first + 5}")
    return F.pixel_shuffle(convolved(x.relu(), "decoder.22"), patch).clamp(0, 1)


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "previews"
    folder.mkdir()
    return folder


@pytest.fixture
def decoder(folder):
    save_file(published(*WAN_2_1), folder / "any name.safetensors")
    return read_decoder(folder / "any name.safetensors")


@pytest.mark.parametrize(("channels", "patch"), [WAN_2_1, WAN_2_2])
def test_the_last_of_each_latents_frames_is_decoded(folder, channels, patch):
    tensors = published(channels, patch)
    save_file(tensors, folder / "tiny.safetensors")
    latents = torch.randn(4, channels, 3, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 2
    frames = read_decoder(folder / "tiny.safetensors").double()(latents, {})
    wanted = all_frames({name: tensor.double() for name, tensor in tensors.items()}, latents, patch)[3::4]
    assert frames.shape == (4, 3, 24 * patch, 40 * patch) and wanted.std() > 0.05
    assert (frames - wanted).abs().max() < 1e-9


def test_no_frame_depends_on_a_later_one_nor_on_how_many_are_decoded_at_once(decoder):
    decoder.double()  # convolutions of other batches round otherwise
    latents = torch.randn(5, 16, 3, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    whole, memory = decoder(latents, {}), {}
    torch.testing.assert_close(torch.cat([decoder(part, memory) for part in latents.split(2)]), whole)
    latents[3] += 1
    other = decoder(latents, {})
    torch.testing.assert_close(other[:3], whole[:3])
    assert all((other[number] - whole[number]).abs().max() > 1e-3 for number in (3, 4))


def test_a_growth_that_makes_more_frames_than_are_used(folder, decoder):
    """A file whose first stage would double the frames too: its newer ones are those that count."""
    tensors = published(*WAN_2_1)
    kernel = tensors["decoder.7.conv.weight"]
    save_file(tensors | {"decoder.7.conv.weight": torch.cat([kernel + 1, kernel])}, folder / "more.safetensors")
    latents = torch.randn(2, 16, 3, 4)
    assert torch.equal(read_decoder(folder / "more.safetensors")(latents, {}), decoder(latents, {}))


def test_the_first_file_that_fits_the_vae_is_used(folder):
    assert find_decoder(folder / "none", 16, 8) == (None, [])
    for name, kind, seed in (("a", WAN_2_2, 0), ("b", WAN_2_1, 1), ("c", WAN_2_1, 2)):
        save_file(published(*kind, seed), folder / f"{name}.safetensors")
    for channels, scale, name in ((16, 8, "b"), (48, 16, "a")):
        found, told = find_decoder(folder, channels, scale)
        wanted = read_decoder(folder / f"{name}.safetensors")
        assert not told and torch.equal(found.first.weight, wanted.first.weight)
    assert find_decoder(folder, 16, 16) == (None, [])  # as many channels, and yet another VAE


def test_files_that_cannot_be_used_are_told_of(folder):
    whole = published(*WAN_2_1)
    save_file(whole | {"decoder.30.weight": torch.ones(1)}, folder / "a.safetensors")
    save_file(
        {name: tensor for name, tensor in whole.items() if name != "decoder.4.conv.2.bias"}, folder / "b.safetensors"
    )
    save_file({"stages.9.grow.weight": torch.ones(8, 16, 1, 1)}, folder / "c.safetensors")
    (folder / "d.safetensors").write_bytes(b"<html>")
    save_file(whole | {"decoder.1.bias": torch.full((8,), torch.nan)}, folder / "e.safetensors")
    (folder / "taew2_1.pth").write_bytes(b"PK")
    found, told = find_decoder(folder, 16, 8)
    assert found is None and len(told) == 6
    ways_out = ["a.safetensors is not whole", "b.safetensors is not whole", "c.safetensors holds no decoder"]
    ways_out += ["d.safetensors cannot be read", "e.safetensors holds weights that are no numbers", "convert it"]
    assert all(way_out in sentence for way_out, sentence in zip(ways_out, told, strict=True))
    with pytest.raises(ModelError, match=r"taew2_1 for models with the Wan 2\.1 VAE"):
        read_decoder(folder / "c.safetensors")
    save_file(whole, folder / "taew2_1.safetensors")
    assert len(find_decoder(folder, 16, 8)[1]) == 5  # the pickle was converted


def test_frames_are_small_and_nothing_else_changes(decoder):
    latents = torch.randn(1, 16, 2, 5, 41)
    before, state = latents.clone(), torch.get_rng_state()
    frames = ClipPreview(matrices(), decoder).frames(latents)
    assert frames.shape == (2, 39, 320, 3)
    assert torch.equal(latents, before) and torch.equal(torch.get_rng_state(), state)
    sharp = decoder(latents[0].transpose(0, 1), {}).mul(255)
    assert abs(sharp.mean() - frames.mean()) < 2


def test_large_latents_are_scaled_down_before(decoder):
    seen = []
    decoder.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0].shape))
    assert decoded(decoder, torch.zeros(1, 16, 1, 90, 160)).shape == (1, 180, 320, 3)
    assert decoded(decoder, torch.zeros(1, 16, 1, 104, 60)).shape == (1, 320, 185, 3)
    assert seen[0] == (1, 16, 45, 80) and seen[1][2] * seen[1][3] <= LATENTS


def test_previews_take_a_small_share_of_the_time(decoder):
    times = iter([0.0, 3.0, 3.0 + 3.0 / SHARE - 1.0, 3.0 + 3.0 / SHARE, 200.0])
    preview = ClipPreview(matrices(), decoder, clock=lambda: next(times))
    made = [preview.frames(torch.zeros(1, 16, 1, 2, 2)) for _ in range(3)]
    assert [frames is not None for frames in made] == [True, False, True]


def test_a_decoder_that_fails_leaves_the_matrices(decoder):
    def fail(*_):
        raise RuntimeError("out\nof memory")

    decoder.register_forward_pre_hook(fail)
    clock = count()
    preview = ClipPreview(matrices(), decoder, clock=lambda: float(next(clock)))
    assert [preview.frames(torch.zeros(1, 16, 1, 2, 3)).shape for _ in range(2)] == [(1, 4, 6, 3)] * 2
    [warning] = preview.warnings
    assert "models/previews" in warning and warning.endswith("out of memory")


def test_a_clip_keeps_its_bits(settings):
    request = make_request(width=96, height=64, num_frames=9, styled_prompt="the red ball")
    folder = settings.preview_decoders
    with Engine(settings) as engine:
        plain = engine.render(request, Recorder())
        folder.mkdir()
        save_file(published(*WAN_2_2), folder / "tiny.safetensors")
        shutil.copy(__file__, folder / "a picture.safetensors")
        observer = Recorder()
        clip = engine.render(request, observer)
    assert clip.sha256 == plain.sha256 and not plain.warnings
    assert ["a picture.safetensors cannot be read" in warning for warning in clip.warnings] == [True]
    first, *others = [report.preview for report in observer.of(Stage.DENOISING)[1:]]
    assert first.shape == (3, 64, 96, 3)
    assert all(frames is None or frames.shape == first.shape for frames in others)


def matrices() -> Preview:
    return Preview(torch.zeros(2, 17, 12), 2)
