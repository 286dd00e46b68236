"""More frames by the network of a file: which are kept, how many, and what is said of them."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from safetensors.torch import save_file

from tests.engine.interpolator.networks import TINY, moving_network
from tests.jobs.handover.test_enlarge import drawing, frames_of, psnr
from wan_pipeline.cli import main
from wan_pipeline.clips.encode import encode
from wan_pipeline.engine.interpolator.files import MOTION
from wan_pipeline.engine.upscaler.files import BUNDLED
from wan_pipeline.errors import ModelError
from wan_pipeline.jobs.handover.between import BetweenWriter
from wan_pipeline.jobs.handover.enlarge import interpolate, post_process
from wan_pipeline.progress import SilentObserver
from wan_pipeline.requests.post_processing import PostProcessing
from wan_pipeline.settings import Settings


class Collected:
    def __init__(self) -> None:
        self.frames: list[np.ndarray] = []

    def write(self, frames: np.ndarray) -> None:
        self.frames += [frame.copy() for frame in frames]


@pytest.fixture
def network(settings: Settings) -> str:
    """A file whose network knows that everything moves by 4 pixels to the right."""
    settings.interpolators.mkdir()
    save_file(moving_network((4, 0), TINY, 3).state_dict(), settings.interpolators / "known.safetensors")
    return "known"


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "a.mp4"
    encode(np.stack([np.roll(drawing(96), 4 * step, axis=1) for step in range(4)]), 12, path, None)
    return path


@pytest.mark.parametrize("factor", [2, 4])
def test_given_frames_stay_bit_for_bit(factor: int) -> None:
    given = np.random.default_rng(2).integers(0, 65_536, (5, 4, 6, 3), dtype=np.uint16)
    collected, memory, seen = Collected(), np.empty((2, 4, 6, 3), np.uint16), []

    def make(before: np.ndarray, after: np.ndarray, times: int) -> list[np.ndarray]:
        seen.append((before.copy(), after.copy()))
        return [np.zeros_like(before)] * (times - 1)

    writer = BetweenWriter(collected, make, factor)
    for start in range(0, 5, 2):  # as a decoder does, which uses its memory again
        count = len(given[start : start + 2])
        memory[:count] = given[start : start + 2]
        writer.write(memory[:count])
    assert len(collected.frames) == 4 * factor + 1 and np.array_equal(collected.frames[::factor], given)
    assert all(np.array_equal(pair, given[at : at + 2]) for at, pair in enumerate(seen))


@pytest.mark.parametrize("factor", [2, 4])
def test_frames_are_made_by_a_network(
    settings: Settings, tmp_path: Path, clip: Path, network: str, factor: int
) -> None:
    outputs = [tmp_path / f"{number}.mp4" for number in range(2)]
    finished, again = (interpolate(clip, factor, path, settings, SilentObserver(), network) for path in outputs)
    made = frames_of(outputs[0])
    assert finished.frames == again.frames == len(made) == 3 * factor + 1
    assert (finished.method, finished.fps, finished.width) == ("known", str(12 * factor), 96)
    assert outputs[0].read_bytes() == outputs[1].read_bytes()
    with av.open(str(outputs[0])) as container:
        assert container.streams.video[0].average_rate == Fraction(12 * factor)
    moved = [np.roll(drawing(96), pixels, axis=1)[:, 16:-16] for pixels in range(14)]
    for number, frame in enumerate(made):
        nearest = [psnr(frame[:, 16:-16], truth) for truth in moved]
        assert nearest.index(max(nearest)) == 4 * number // factor


def test_a_cut_is_held_and_told(settings: Settings, tmp_path: Path, network: str) -> None:
    clip, output = tmp_path / "cut.mp4", tmp_path / "smooth.mp4"
    scenes = [drawing(96), 255 - drawing(96)[::-1]]
    encode(np.stack([scenes[0], scenes[0], scenes[1], scenes[1]]), 12, clip, None)
    finished = interpolate(clip, 4, output, settings, SilentObserver(), network)
    assert any(warning.startswith("Cuts found: 1.") for warning in finished.warnings)
    for number, frame in enumerate(frames_of(output)):
        assert psnr(frame, scenes[0 if number <= 6 else 1]) > 20


def test_a_wrong_name_is_refused(settings: Settings, tmp_path: Path, clip: Path) -> None:
    with pytest.raises(ModelError, match="There is no interpolator 'x'"):
        interpolate(clip, 2, tmp_path / "b.mp4", settings, SilentObserver(), "x")
    assert not (tmp_path / "b.mp4").exists()


@pytest.mark.soak
def test_on_the_command_line(
    settings: Settings, tmp_path: Path, clip: Path, network: str, capsys: pytest.CaptureFixture[str]
) -> None:
    output = str(tmp_path / "smooth.mp4")
    folders = ["--workspace", str(settings.workspace), "--models-folder", str(settings.models)]
    arguments = ["interpolate", str(clip), "--factor", "4", "--model", network, "--output", output, "--json"]
    assert main([*folders, *arguments]) == 0
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (report["path"], report["frames"], report["method"]) == (output, 13, "known")
    assert main([*folders, *arguments[:-2], str(tmp_path / "b.mp4"), "--model", "x"]) != 0
    assert "There is no interpolator 'x'" in capsys.readouterr().err


@pytest.mark.soak
def test_larger_and_more_frames_at_once(clip: Path, network: str, tmp_path: Path, settings: Settings) -> None:
    wanted = PostProcessing(upscale=2, interpolate=2, interpolator=network)
    made = post_process(clip, wanted, tmp_path / "both.mp4", settings, SilentObserver())
    assert (made.width, made.height, made.frames, made.fps) == (192, 192, 7, "24")
    assert made.method == f"{BUNDLED} + {network}"
    frames = frames_of(made.path)
    assert len(frames) == 7 and frames[0].shape == (192, 192, 3)
    smooth = post_process(clip, replace(wanted, interpolator=""), tmp_path / "ffmpeg.mp4", settings, SilentObserver())
    assert smooth.method == f"{BUNDLED} + {MOTION}" and len(frames_of(smooth.path)) == 7
