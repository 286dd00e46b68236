"""Upscaling and interpolating: sizes, rates, and better than the plain way."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from safetensors.torch import save_file

from tests.support.soak import soaked
from wan_pipeline.cli import main
from wan_pipeline.clips.encode import encode
from wan_pipeline.engine.upscaler.clip import clip_upscaler
from wan_pipeline.engine.upscaler.files import BUNDLED, upscalers_in
from wan_pipeline.engine.upscaler.frames import in_tiles
from wan_pipeline.engine.upscaler.network import WEIGHTS, load_upscaler
from wan_pipeline.engine.upscaler.rrdb import RRDBNet
from wan_pipeline.errors import ModelError, RequestError
from wan_pipeline.jobs.handover.enlarge import interpolate, upscale
from wan_pipeline.progress import SilentObserver
from wan_pipeline.settings import Settings


def drawing(size: int, at: float = 0.5) -> np.ndarray:
    """A disc, a ring and bars, drawn smoothly at any size; `at` is the disc's place."""
    large = Image.new("RGB", (size * 4, size * 4), "white")
    draw, unit = ImageDraw.Draw(large), size * 4
    for bar in range(6):
        draw.line([(0, unit * (0.1 + bar * 0.15)), (unit, unit * (0.02 + bar * 0.15))], "navy", unit // 40)
    draw.ellipse([unit * (at - 0.2), unit * 0.3, unit * (at + 0.2), unit * 0.7], "crimson", "black", unit // 32)
    return np.asarray(large.resize((size, size), Image.Resampling.BOX))


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((one.astype(float) - other) ** 2)))


def frames_of(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def test_the_network_beats_lanczos_on_drawn_edges() -> None:
    small, large = drawing(64), drawing(128)
    values = torch.from_numpy(small.astype(np.float32) / 255).permute(2, 0, 1)[None]
    with torch.inference_mode():
        made = load_upscaler(torch.device("cpu"))(values, 2)[0].permute(1, 2, 0).mul(255).round().numpy()
    lanczos = np.asarray(Image.fromarray(small).resize((128, 128), Image.Resampling.LANCZOS))
    assert made.shape == large.shape
    assert psnr(made, large) > psnr(lanczos, large)


def test_a_frame_in_tiles_has_no_seams() -> None:
    network = load_upscaler(torch.device("cpu"))
    frame = torch.from_numpy(drawing(48).astype(np.float32) / 255).permute(2, 0, 1)[None]
    with torch.inference_mode():
        assert torch.allclose(network(frame, 3), in_tiles(network, frame, 3, tile=24, halo=20), atol=1e-4)


def test_networks_of_files_are_read(settings: Settings) -> None:
    settings.upscalers.mkdir()
    device, frame = torch.device("cpu"), torch.rand(1, 3, 10, 14)
    own = load_upscaler(device)
    save_file(own.network.state_dict(), settings.upscalers / "small.safetensors")
    networks = {name: RRDBNet(8, 4, 2, scale).eval() for name, scale in (("four", 4), ("two", 2))}
    for name, network in networks.items():
        save_file(network.state_dict(), settings.upscalers / f"{name}.safetensors")
    assert upscalers_in(settings.upscalers).names() == (BUNDLED, "four", "small", "two")
    with torch.inference_mode():
        again = load_upscaler(device, upscalers_in(settings.upscalers).find("small"))
        assert torch.equal(again(frame, 3), own(frame, 3))
        for name, network in networks.items():
            found = load_upscaler(device, upscalers_in(settings.upscalers).find(name))
            assert torch.equal(found(frame, network.scale), network(frame).clamp(0, 1))
    small = drawing(32).astype(np.uint16) * 257
    made = clip_upscaler(settings, 2, "four")
    assert made.method == "four" and [frame.shape for frame in made.add(small)] == [(64, 64, 3)]
    with pytest.raises(ModelError, match="two enlarges 2 times and not 3"):
        clip_upscaler(settings, 3, "two")


def test_files_that_are_no_network_are_refused(settings: Settings) -> None:
    folder = settings.upscalers
    folder.mkdir()
    (folder / "ultra.pth").write_bytes(b"PK")
    (folder / "cut.safetensors").write_bytes(b"12")
    save_file({"model.0.weight": torch.zeros(1)}, folder / "other.safetensors")
    parts = {**RRDBNet(8, 4, 1, 4).state_dict()}
    save_file({**parts, "conv_last.bias": torch.full((3,), torch.nan)}, folder / "nan.safetensors")
    save_file({name: part for name, part in parts.items() if name != "conv_last.bias"}, folder / "half.safetensors")
    for name, words in (
        ("ultra", "is a pickle"),
        ("ultra.pth", "is a pickle"),
        ("cut", "cannot be read"),
        ("../models/cut", "choose one of"),
        ("nothing", "choose one of: realesr-animevideov3"),
        ("other", "holds no network"),
        ("nan", "no numbers"),
        ("half", "is not whole"),
    ):
        with pytest.raises(ModelError, match=words):
            clip_upscaler(settings, 2, name)


def test_names_and_shapes_of_a_file_are_not_trusted(settings: Settings) -> None:
    settings.upscalers.mkdir()
    whole, one = dict(RRDBNet(8, 4, 1, 4).state_dict()), torch.zeros(1)
    kernel = torch.zeros(4, 8, 3, 3)
    old = {"model.0": "conv_first", "model.1.sub.1": "conv_body", "model.3": "conv_up1"}
    doubled = {f"{name}.weight": whole[f"{new}.weight"] for name, new in old.items()}
    files = {
        "endless": {"body.999999999.rdb1.conv1.weight": kernel, "conv_first.weight": whole["conv_first.weight"]},
        "endless small": {"body.0.weight": kernel, "body.999999998.weight": kernel.clone()},
        "flat": {**whole, "conv_first.weight": one},
        "point": {**whole, "body.0.rdb1.conv1.weight": torch.tensor(1.0)},
        "wide": {**whole, "conv_first.weight": torch.zeros(100_000, 3, 1, 1)},
        "old x2": {**doubled, "model.1.sub.0.RDB1.conv1.0.weight": kernel},
        "ninefold": {f"body.{number}.weight": torch.zeros(3 * 81, 3, 1, 1) for number in range(3)},
        "even": {f"body.{number}.weight": torch.zeros(12, 3, 3, 3) for number in range(4)},
    }
    for name, tensors in files.items():
        save_file(tensors, settings.upscalers / f"{name}.safetensors")
        with pytest.raises(ModelError, match="holds no network that is known here"):
            clip_upscaler(settings, 2, name)
    save_file({**whole, "body.7.rdb1.conv1.weight": kernel}, settings.upscalers / "gap.safetensors")
    with pytest.raises(ModelError, match="is not whole"):
        clip_upscaler(settings, 2, "gap")


def test_its_weights_are_read_to_the_last_byte() -> None:
    network = load_upscaler(torch.device("cpu"))
    assert all(bool(torch.isfinite(weight).all()) for weight in network.parameters())
    assert sum(weight.numel() for weight in network.parameters()) == 621_424
    assert WEIGHTS.with_name("LICENSE").is_file() and WEIGHTS.stat().st_size == 1_247_368


@pytest.mark.parametrize("factor", [2, soaked(3)])
def test_a_clip_is_upscaled(settings: Settings, tmp_path: Path, factor: int) -> None:
    clip, output = tmp_path / "a.mp4", tmp_path / "large.mp4"
    encode(np.stack([drawing(64, 0.4 + 0.05 * step) for step in range(3)]), 24, clip, None)
    finished = upscale(clip, factor, output, settings, SilentObserver())
    assert (finished.width, finished.height, finished.frames, finished.fps) == (64 * factor, 64 * factor, 3, "24")
    assert (finished.method, finished.from_latents) == ("realesr-animevideov3", False)
    assert psnr(frames_of(output)[1], drawing(64 * factor, 0.45)) > 17


def test_frames_are_made_in_between(settings: Settings, tmp_path: Path) -> None:
    clip, output = tmp_path / "a.mp4", tmp_path / "smooth.mp4"
    places = [0.3 + 0.03 * step for step in range(9)]
    shown = [drawing(128, place) for place in places]
    encode(np.stack(shown), 12, clip, None)
    finished = interpolate(clip, 2, output, settings, SilentObserver())
    made = frames_of(output)
    assert finished.frames == len(made) == 17 and finished.fps == "24"
    assert finished.method == "ffmpeg minterpolate"
    with av.open(str(output)) as container:
        assert container.streams.video[0].average_rate == Fraction(24)
    kept = [psnr(frame, other) for frame, other in zip(made[::2], shown, strict=True)]
    assert min(kept) > 25
    better = 0
    for number in range(2, 6):
        middle = drawing(128, (places[number] + places[number + 1]) / 2)
        blended = (shown[number].astype(float) + shown[number + 1]) / 2
        better += psnr(made[2 * number + 1], middle) > psnr(blended, middle)
    assert better >= 3


def test_what_cannot_be_is_refused(settings: Settings, tmp_path: Path) -> None:
    clip = tmp_path / "a.mp4"
    encode(np.stack([drawing(64)] * 3), 24, clip, None)
    with pytest.raises(RequestError, match="choose 2, 3, 4"):
        upscale(clip, 5, tmp_path / "b.mp4", settings, SilentObserver())
    with pytest.raises(RequestError, match="choose 2, 4"):
        interpolate(clip, 3, tmp_path / "b.mp4", settings, SilentObserver())
    with pytest.raises(RequestError, match=r"ends in \.mp4"):
        upscale(clip, 2, tmp_path / "b.png", settings, SilentObserver())
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["a.mp4"]


def test_on_the_command_line(settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip = tmp_path / "a.mp4"
    encode(np.stack([drawing(64)] * 3), 24, clip, None)
    for command, frames in (("upscale", 3), ("interpolate", 5)):
        output = str(tmp_path / f"{command}.mp4")
        arguments = [command, str(clip), "--factor", "2", "--output", output, "--json"]
        assert main(["--workspace", str(settings.workspace), *arguments]) == 0
        report = json.loads(capsys.readouterr().out.splitlines()[-1])
        assert (report["path"], report["frames"]) == (output, frames)
