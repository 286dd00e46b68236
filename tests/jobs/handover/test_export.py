"""Exports, read back by FFmpeg's libraries (PyAV) and OpenEXR."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import OpenEXR
import pytest
from PIL import Image

from tests.support import tiny
from tests.support.observers import Recorder
from tests.support.requests import make_request
from wan_pipeline.cli import main
from wan_pipeline.clips.export.bit_depth import rounded
from wan_pipeline.clips.export.exr import Transfer
from wan_pipeline.clips.export.formats import FORMATS, find_format
from wan_pipeline.clips.export.order import Exported, ExportOrder
from wan_pipeline.clips.frame_hash import frames_sha256
from wan_pipeline.clips.naming import latents_path
from wan_pipeline.clips.receipt import load_receipt
from wan_pipeline.engine.engine import Engine
from wan_pipeline.errors import Cancelled, RequestError
from wan_pipeline.jobs import device
from wan_pipeline.jobs.handover import exports
from wan_pipeline.jobs.handover.export import export
from wan_pipeline.jobs.worker.render import make_clip
from wan_pipeline.progress import Observer, SilentObserver, Stage
from wan_pipeline.settings import Settings

FILM = Fraction(24000, 1001)
BT709 = 1
LIMITED = 1
FRAMES = 5


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, tiny_demo: Path) -> Settings:
    settings = Settings(tmp_path_factory.mktemp("workspace"), demo_checkpoint=tiny_demo)
    settings.make_folders()
    return settings


@pytest.fixture(scope="module")
def clip(home: Settings) -> Path:
    """Of 256 x 128 pixels at 24 frames a second, with its latents. Read only."""
    request = make_request(width=256, height=128, num_frames=FRAMES, fps=24, styled_prompt="the red ball")
    with Engine(home) as engine:
        make_clip(engine, request, SilentObserver(), home.clips / "a.mp4")
    return home.clips / "a.mp4"


def write(clip: Path, home: Settings, name: str, output: Path, observer: Observer | None = None, **order) -> Exported:
    return export(clip, ExportOrder(find_format(name), output, **order), home, observer or SilentObserver())


def pictures(folder: Path) -> list[np.ndarray]:
    found = []
    for path in sorted(folder.iterdir()):
        with av.open(str(path)) as container:
            (frame,) = container.decode(video=0)
            found.append(frame.to_ndarray(format="rgb48le" if "48" in frame.format.name else "rgb24"))
    return found


def coarse(frame: np.ndarray) -> np.ndarray:
    """The mean colour of squares of 32 pixels: another matrix or range would shift it, and compression hardly does."""
    return frame.reshape(4, 32, 8, 32, 3).mean(axis=(1, 3))


@pytest.fixture(scope="module")
def frames_made(clip: Path, home: Settings, tmp_path_factory: pytest.TempPathFactory) -> list[np.ndarray]:
    folder = tmp_path_factory.mktemp("made") / "png"
    write(clip, home, "png8", folder)
    return pictures(folder)


VIDEOS = [name for name, form in FORMATS.items() if not form.is_sequence and name not in ("gif", "webp")]
PIXELS = {
    "prores": ("prores", "yuv422p10le"),
    "prores4444": ("prores", "yuv444p1"),
    "dnxhr": ("dnxhd", "yuv422p10le"),
    "h265": ("hevc", "yuv420p10le"),
    "av1": ("av1", "yuv420p10le"),
    "ffv1": ("ffv1", "gbrp16le"),
    "h264": ("h264", "yuv420p"),
    "webm": ("vp9", "yuv420p"),
}


@pytest.mark.parametrize("name", VIDEOS)
def test_a_video_is_what_it_says(
    clip: Path, home: Settings, tmp_path: Path, frames_made: list[np.ndarray], name: str
) -> None:
    output = tmp_path / f"shot{FORMATS[name].endings[0]}"
    exported = write(clip, home, name, output, rate=FILM, handles=2)
    assert (exported.frames, exported.bits, exported.fps) == (FRAMES + 4, FORMATS[name].bits, "24000/1001")
    assert exported.from_latents and exported.warnings == ()
    with av.open(str(output)) as container:
        stream = container.streams.video[0]
        codec, pixels = PIXELS[name]
        frames = list(container.decode(stream))
        assert len(frames) == FRAMES + 4
        assert codec in stream.codec_context.name or "dav1d" in stream.codec_context.name
        assert stream.codec_context.pix_fmt.startswith(pixels)
        is_exact = name not in ("ffv1", "webm")  # Matroska counts milliseconds, and its rate is a guess from them
        assert stream.average_rate == FILM if is_exact else abs(float(stream.average_rate) - 23.976) < 0.05
        context, is_rgb = stream.codec_context, name == "ffv1"
        assert (context.color_primaries, context.color_trc) == (BT709, BT709)
        assert (context.colorspace, context.color_range) == ((0, 2) if is_rgb else (BT709, LIMITED))
        shown = [frame.to_ndarray(format="rgb24").astype(int) for frame in frames]
    for number, frame in ((2, frames_made[0]), (0, frames_made[0]), (-1, frames_made[-1])):  # and held ones
        assert abs(coarse(shown[number]) - coarse(frame)).max() < 4  # the reader itself is off by one or two
    assert [path.name for path in tmp_path.iterdir()] == [output.name]


def test_a_quicktime_file_has_timecode(clip: Path, home: Settings, tmp_path: Path) -> None:
    exported = write(clip, home, "prores", tmp_path / "a.mov", rate=FILM, handles=8)
    assert exported.timecode == "00:59:59:16"
    with av.open(str(tmp_path / "a.mov")) as container:
        assert container.streams.video[0].metadata["timecode"] == "00:59:59:16"


def test_16_bit_pngs_round_to_the_clips_frames_bit_for_bit(clip: Path, home: Settings, tmp_path: Path) -> None:
    deep, shallow = tmp_path / "deep %d", tmp_path / "shallow"
    exported = write(clip, home, "png16", deep)
    assert (exported.frames, exported.bits, exported.first_frame) == (FRAMES, 16, 1001)
    assert sorted(path.name for path in deep.iterdir())[0] == "deep %d.1001.png"
    write(clip, home, "png8", shallow)
    frames = np.stack(pictures(deep))
    assert frames.dtype == np.uint16
    assert frames_sha256(rounded(frames)) == load_receipt(clip).frames_sha256
    assert (np.stack(pictures(shallow)) == rounded(frames)).all()
    assert len(np.unique(frames)) > 256 and b"cICP" in (deep / "deep %d.1001.png").read_bytes()
    write(clip, home, "tiff16", tmp_path / "tiff")
    assert (np.stack(pictures(tmp_path / "tiff")) == frames).all()


def test_ffv1_loses_nothing(clip: Path, home: Settings, tmp_path: Path) -> None:
    write(clip, home, "ffv1", tmp_path / "a.mkv")
    write(clip, home, "png16", tmp_path / "png")
    with av.open(str(tmp_path / "a.mkv")) as container:
        frames = [frame.to_ndarray(format="gbrp16le") for frame in container.decode(video=0)]
    assert (np.stack(frames) == np.stack(pictures(tmp_path / "png"))).all()


def test_exr_above_30_frames_a_second_has_no_timecode(clip: Path, home: Settings, tmp_path: Path) -> None:
    exported = write(clip, home, "exr", tmp_path / "fast", rate=Fraction(50), handles=1)
    assert (exported.timecode, len(list((tmp_path / "fast").iterdir()))) == ("", exported.frames)
    header = OpenEXR.File(str(tmp_path / "fast" / "fast.1001.exr")).header()
    assert header["framesPerSecond"] == 50 and "timeCode" not in header


def test_exr_is_linear_or_as_displayed_and_says_so(clip: Path, home: Settings, tmp_path: Path) -> None:
    write(clip, home, "exr", tmp_path / "linear", rate=FILM)
    write(clip, home, "exr", tmp_path / "display", transfer=Transfer.DISPLAY)
    write(clip, home, "png16", tmp_path / "png")
    levels = pictures(tmp_path / "png")[0] / 65_535
    display = OpenEXR.File(str(tmp_path / "display" / "display.1001.exr"))
    linear = OpenEXR.File(str(tmp_path / "linear" / "linear.1001.exr"))
    assert display.channels()["RGB"].pixels.dtype == np.float16
    assert abs(display.channels()["RGB"].pixels - levels).max() < 2**-11
    light = linear.channels()["RGB"].pixels.astype(float)
    coded = np.where(light < 0.018, 4.5 * light, 1.099 * light**0.45 - 0.099)  # the camera curve of BT.709
    assert abs(coded - levels).max() < 2**-10
    header = linear.header()
    assert (header["framesPerSecond"], header["transfer"]) == (FILM, "linear")
    assert header["chromaticities"][:2] == pytest.approx((0.64, 0.33)) and header["timeCode"].hours == 1
    assert display.header()["transfer"] == "BT.709" and "colorInteropID" not in display.header()


@pytest.mark.parametrize("name", ["gif", "webp"])
def test_loops_have_all_frames(clip: Path, home: Settings, tmp_path: Path, name: str) -> None:
    write(clip, home, name, tmp_path / f"a.{name}")
    with Image.open(tmp_path / f"a.{name}") as picture:
        assert picture.n_frames == FRAMES and picture.size == (256, 128)


def test_without_latents_it_is_8_bits_and_says_so(clip: Path, home: Settings, tmp_path: Path) -> None:
    alone = tmp_path / "alone.mp4"
    alone.write_bytes(clip.read_bytes())
    assert not latents_path(alone).exists()
    exported = write(alone, home, "png16", tmp_path / "png")
    assert not exported.from_latents and "8 bits" in exported.warnings[0]
    assert exported.fps == "24" and exported.frames == FRAMES
    assert len(np.unique(np.stack(pictures(tmp_path / "png")))) <= 256


def test_nothing_is_left_of_an_export_that_was_cancelled(clip: Path, home: Settings, tmp_path: Path) -> None:
    for name, output in (("png16", tmp_path / "png"), ("prores", tmp_path / "a.mov"), ("exr", tmp_path / "exr")):
        with pytest.raises(Cancelled):
            write(clip, home, name, output, Recorder(stop_at=(Stage.DECODING, 0)))
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_is_refused_before_anything_is_decoded(clip: Path, home: Settings, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").touch()
    for name, output, match in (
        ("prores", tmp_path / "a.mp4", r"ends in \.mov"),
        ("png16", tmp_path / "full", "is there already"),
        ("h264", clip, "is the clip itself"),
    ):
        observer = Recorder()
        with pytest.raises(RequestError, match=match):
            write(clip, home, name, output, observer)
        assert observer.reports == []
    with pytest.raises(RequestError, match="choose 0 to"):
        write(clip, home, "png16", tmp_path / "png", handles=-1)
    with pytest.raises(RequestError, match="There is no format 'mpeg'"):
        find_format("mpeg")


def test_another_vae_of_that_name_is_not_used(clip: Path, home: Settings, tmp_path: Path) -> None:
    elsewhere = replace(home, demo_checkpoint=tiny.write_demo(tmp_path / "other", seed=1))
    exported = write(clip, elsewhere, "png8", tmp_path / "png")
    assert not exported.from_latents and "is another than the clip was made with" in exported.warnings[0]


def test_a_missing_model_leaves_the_8_bits(clip: Path, home: Settings, tmp_path: Path) -> None:
    elsewhere = replace(home, demo_checkpoint=tmp_path / "nothing")
    exported = write(clip, elsewhere, "png8", tmp_path / "png")
    assert not exported.from_latents and "8 bits" in exported.warnings[0]


class Taken(BaseException):
    """The device was to be taken."""


@pytest.mark.parametrize(
    "words",
    [
        "export CLIP --format png8 --output OUT",
        "upscale CLIP --output OUT.mp4",
        "interpolate CLIP --output OUT.mp4",
        "dataset caption OUT --model none",
    ],
)
def test_commands_take_the_device_before_they_compute_on_it(
    words: str, clip: Path, home: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise Taken

    for module in (device, exports):
        monkeypatch.setattr(module, "device_without_queue", refuse)
    named = words.replace("CLIP", str(clip)).replace("OUT", str(tmp_path / "out")).split()
    with pytest.raises(Taken):
        main([*named, f"--workspace={home.workspace}"])
