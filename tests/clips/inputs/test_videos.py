"""Control videos as people have them: AVI, odd pixels, colours without a name, frames."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image

from tests.support import tiny
from tests.support.observers import Recorder
from tests.support.requests import make_request
from wan_pipeline.clips.inputs.sequence import find_frames
from wan_pipeline.clips.inputs.stream import probe_stream
from wan_pipeline.clips.inputs.videos import check_length, ingest_video, video_path
from wan_pipeline.clips.read import read_frames
from wan_pipeline.engine.conditioning import load_conditioning
from wan_pipeline.engine.engine import Engine
from wan_pipeline.errors import ImageError
from wan_pipeline.models.spec import Mode

AVI = Path(__file__).parent / "a.avi"
"""Of shared/cases/control-video-avi: 1 s, 160x160, 16 frames."""
GREEN = (30, 200, 40)


def make_video(path: Path, size: tuple[int, int], *options: str, matrix: str = "bt709") -> Path:
    """Five green frames, encoded with this matrix; `options` say what the file tells of itself."""
    width, height = size
    pixels = np.full((5, height, width, 3), GREEN, np.uint8).tobytes()
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-f", "rawvideo", "-pix_fmt", "rgb24"]
    command += ["-s", f"{width}x{height}", "-r", "16", "-i", "-", "-vf"]
    unnamed = ",setparams=colorspace=unknown" if not options else ""
    command += [f"scale=out_color_matrix={matrix}:out_range=tv,format=yuv444p{unnamed}", "-c:v", "libx264", "-qp", "0"]
    subprocess.run([*command, *options, str(path)], input=pixels, check=True)
    return path


def first(path: Path) -> np.ndarray:
    return next(iter(read_frames(path, 16, probe_stream(path).filters)))


def request_of(name: str, **changes):
    plain = make_request(model="wan2.1-vace-14b", mode=Mode.TEXT_TO_VIDEO, width=96, height=64, num_frames=5, fps=16)
    return replace(plain, num_inference_steps=1, control_video=name, **changes)


def test_22_an_avi_is_a_control_video(settings):
    check_length(AVI, "control video", 16, 16)
    conditioning = load_conditioning(settings.inputs, request_of(ingest_video(AVI, settings.inputs)))
    assert len(conditioning.video) == 5 and conditioning.video[0].size == (96, 64)


@pytest.mark.parametrize(
    ("size", "matrix", "name"),
    [((1280, 720), "bt709", "BT.709"), ((1024, 578), "bt709", "BT.709"), ((720, 576), "bt601", "BT.601")],
)
def test_22_colours_without_a_name_are_those_of_the_size(settings, tmp_path, size, matrix, name):
    path = make_video(tmp_path / "a.mkv", size, matrix=matrix)
    assert np.abs(first(path).astype(int) - GREEN).max() <= 3
    conditioning = load_conditioning(settings.inputs, request_of(ingest_video(path, settings.inputs)))
    lines = f"{size[0]}x{size[1]}"
    assert conditioning.warnings == (
        f"The control video names no colour matrix; {name} was assumed, as is usual at {lines}.",
    )
    assert np.abs(np.asarray(conditioning.video[0]).astype(int) - GREEN).max() <= 3


@pytest.mark.parametrize(("matrix", "tag"), [("bt709", "bt709"), ("bt601", "smpte170m")])
def test_22_colours_that_are_named_are_read_by_their_name(settings, tmp_path, matrix, tag):
    path = make_video(tmp_path / "a.mkv", (320, 192), "-colorspace", tag, matrix=matrix)
    assert np.abs(first(path).astype(int) - GREEN).max() <= 3
    assert load_conditioning(settings.inputs, request_of(ingest_video(path, settings.inputs))).warnings == ()


@pytest.mark.parametrize(("ratio", "shown"), [("64/45", (1024, 576)), ("8/9", (720, 648)), ("1/1", (720, 576))])
def test_22_pixels_that_are_not_square_are_made_square(tmp_path, ratio, shown):
    path = tmp_path / "a.mkv"
    make_video(tmp_path / "plain.mkv", (720, 576), matrix="bt601")
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(tmp_path / "plain.mkv")]
    subprocess.run([*command, "-vf", f"setsar={ratio}", "-c:v", "libx264", "-qp", "0", str(path)], check=True)
    height, width, _ = first(path).shape
    assert (width, height) == shown


def test_22_the_receipt_says_what_was_assumed(settings, tmp_path):
    tiny.write_vace(settings.models / "wan2.1-vace-14b")
    name = ingest_video(make_video(tmp_path / "a.mkv", (96, 64), matrix="bt601"), settings.inputs)
    with Engine(settings) as engine:
        rendered = engine.render(request_of(name), Recorder())
    assert any("BT.601 was assumed" in warning for warning in rendered.warnings)


def write_frames(folder: Path, numbers: range, name: str = "frame.{:04}.png") -> list[tuple[int, int, int]]:
    folder.mkdir(exist_ok=True)
    colours = [(10 * number % 256, 200 - number, number) for number in numbers]
    for number, colour in zip(numbers, colours, strict=True):
        Image.new("RGB", (48, 32), colour).save(folder / name.format(number))
    return colours


@pytest.mark.parametrize("as_folder", [True, False])
def test_22_frames_are_a_video_frame_by_frame(settings, tmp_path, as_folder):
    colours = write_frames(tmp_path / "shot", range(8, 14), "frame.{}.png" if as_folder else "frame.{:04}.png")
    (tmp_path / "shot" / "notes.txt").touch()
    path = tmp_path / "shot" if as_folder else tmp_path / "shot" / "frame.%04d.png"
    check_length(path, "control video", 24, 6)
    with pytest.raises(ImageError, match="has 6 frames at 24 a second and the clip takes 9"):
        check_length(path, "control video", 24, 9)
    name = ingest_video(path, settings.inputs, 24)
    frames = list(read_frames(video_path(settings.inputs, name), 24))
    assert [tuple(frame[0, 0]) for frame in frames] == colours, "in their order, and without loss"
    assert ingest_video(path, settings.inputs, 24) == name
    assert not list(settings.inputs.glob(".frames-*"))
    conditioning = load_conditioning(settings.inputs, request_of(name, fps=24))
    assert len(conditioning.video) == 5 and conditioning.warnings == ()


def test_22_frames_that_are_no_video_are_sentences(settings, tmp_path):
    write_frames(tmp_path / "shot", range(1, 4))
    (tmp_path / "shot" / "frame.0002.png").unlink()
    with pytest.raises(ImageError, match=r"number 2 of .* is missing"):
        find_frames(tmp_path / "shot" / "frame.%04d.png")
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "empty", tmp_path / "shot" / "other.%03d.png", tmp_path / "none" / "x.%d.png"):
        with pytest.raises(ImageError, match="There are no pictures"):
            ingest_video(path, settings.inputs)
    Image.new("RGB", (50, 32)).save(tmp_path / "shot" / "frame.0002.png")
    with pytest.raises(ImageError, match=r"frame\.0002\.png is 50x32 and frame\.0001\.png is 48x32"):
        ingest_video(tmp_path / "shot", settings.inputs)
    (tmp_path / "shot" / "frame.0001.png").write_text("no picture")
    with pytest.raises(ImageError, match=r"frame\.0001\.png"):
        ingest_video(tmp_path / "shot", settings.inputs)
    assert list(settings.inputs.iterdir()) == []
