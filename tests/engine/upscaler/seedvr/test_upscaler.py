"""Clips through a tiny SeedVR2: from the command line, the same bits on every run, and in pieces."""

from __future__ import annotations

import json
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from tests.engine.upscaler.seedvr.networks import write_folder
from wan_pipeline.cli import main
from wan_pipeline.clips.encode import encode
from wan_pipeline.engine.network_files.levels import Levels
from wan_pipeline.engine.upscaler.clip import clip_upscaler
from wan_pipeline.engine.upscaler.seedvr import restore, upscaler
from wan_pipeline.errors import Cancelled, GenerationError
from wan_pipeline.settings import Settings


def frames_of(count: int, height: int = 24, width: int = 40) -> list[Levels]:
    """A bright bar that moves over a slope."""
    slope = np.linspace(8_000, 30_000, width).astype(np.uint16)
    frames = []
    for number in range(count):
        frame = np.repeat(np.repeat(slope[None, :, None], height, 0), 3, 2)
        frame[:, 2 * number : 2 * number + 6] = 60_000
        frames.append(frame)
    return frames


def enlarged(settings: Settings, frames: list[Levels]) -> tuple[list[Levels], float]:
    """The larger frames, and how many were told to be done."""
    done: list[float] = []
    made = clip_upscaler(settings, 2, "seedvr2", done.append)
    large = [frame for given in frames for frame in made.add(given)]
    return [*large, *made.end()], sum(done)


@pytest.mark.soak
def test_on_the_command_line(settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_folder(settings.upscalers / "seedvr2")
    clip, output = tmp_path / "a.mp4", tmp_path / "large.mp4"
    encode(np.stack([(frame >> 8).astype(np.uint8) for frame in frames_of(3, 32, 48)]), 24, clip, None)
    arguments = ["upscale", str(clip), "--factor", "2", "--model", "seedvr2", "--output", str(output), "--json"]
    folders = ["--workspace", str(settings.workspace), "--models-folder", str(settings.models)]
    assert main([*folders, *arguments]) == 0
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (report["frames"], report["width"], report["height"], report["method"]) == (3, 96, 64, "seedvr2")
    with av.open(str(output)) as container:
        assert [(frame.width, frame.height) for frame in container.decode(video=0)] == [(96, 64)] * 3


@pytest.mark.soak
def test_frames_repeat_their_bits_and_keep_their_colours(settings: Settings) -> None:
    write_folder(settings.upscalers / "seedvr2")
    frames = frames_of(3)
    (one, done), (two, _) = (enlarged(settings, frames) for _ in range(2))
    assert all(np.array_equal(first, second) for first, second in zip(one, two, strict=True))
    assert [frame.shape for frame in one] == [(48, 80, 3)] * 3 and done == pytest.approx(3)
    for large, small in zip(one, frames, strict=True):
        assert np.abs(large.mean((0, 1)) - small.mean((0, 1))).max() < 2_500


def test_a_clip_of_several_pieces_has_all_its_frames(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    write_folder(settings.upscalers / "seedvr2")
    monkeypatch.setattr(upscaler, "piece_length", lambda *_: 9)
    frames = frames_of(14, 8, 8)
    made, done = enlarged(settings, frames)
    assert len(made) == 14 and done == pytest.approx(14) and {frame.shape for frame in made} == {(16, 16, 3)}


def test_tiles_change_only_what_a_tile_sees(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """With networks that only look at a latent's own place, tiles and the whole frame give the same."""
    write_folder(settings.upscalers / "seedvr2")
    frames = torch.rand(5, 3, 16, 40, generator=torch.Generator().manual_seed(0))
    made = []
    for size, overlap in ((64, 8), (4, 2)):
        monkeypatch.setattr(restore, "tiles_of", lambda *sizes, s=size, o=overlap: tiles(*sizes, size=s, overlap=o))
        restorer = clip_upscaler(settings, 2, "seedvr2")._restorer  # type: ignore[attr-defined]
        monkeypatch.setattr(restorer._vae, "encode", pooled)
        monkeypatch.setattr(restorer._vae, "decode", spread)
        made.append(torch.cat(list(restorer.restore(frames, 0, 2, lambda _: None))))
    assert made[0].shape == (5, 3, 32, 80)
    assert torch.allclose(*made, atol=2e-3)


tiles = restore.tiles_of


def pooled(slices: list[torch.Tensor]) -> torch.Tensor:
    """One latent of each 8 x 8 pixels of a slice's last frame."""
    frames = torch.cat([frames[0, :, -1] for frames in slices]).unflatten(0, (-1, 3))
    small = torch.nn.functional.avg_pool2d(frames, 8).transpose(0, 1)
    return torch.cat([small] * 6)[None, :16]


def spread(latents: torch.Tensor) -> list[torch.Tensor]:
    """Each latent in all its pixels."""
    frames = latents[0, :3].transpose(0, 1).repeat_interleave(8, 2).repeat_interleave(8, 3)
    return [(frames[n : n + 1].repeat(1 if n == 0 else 4, 1, 1, 1)).transpose(0, 1)[None] for n in range(len(frames))]


def test_it_can_be_cancelled_within_a_piece(settings: Settings) -> None:
    write_folder(settings.upscalers / "seedvr2")
    told: list[float] = []

    def tick(share: float) -> None:
        told.append(share)
        if len(told) == 2:
            raise Cancelled("stop")

    made = clip_upscaler(settings, 2, "seedvr2", tick)
    assert not list(made.add(frames_of(1, 8, 8)[0]))
    with pytest.raises(Cancelled):
        list(made.end())
    assert len(told) == 2


def test_weights_that_are_no_numbers_are_told(settings: Settings) -> None:
    write_folder(settings.upscalers / "seedvr2")
    made = clip_upscaler(settings, 2, "seedvr2")
    made._restorer._transformer.vid_out.proj.bias.fill_(torch.nan)  # type: ignore[attr-defined]
    assert not list(made.add(frames_of(1, 8, 8)[0]))
    with pytest.raises(GenerationError, match="its file is damaged"):
        list(made.end())
