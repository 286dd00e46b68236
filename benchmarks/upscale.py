"""Measure larger frames against Lanczos, and frames in between against blending, on scenes of the demo world.

    python -m benchmarks.upscale --output benchmarks/results/upscale.json
    python -m benchmarks.upscale --interpolator rife.safetensors --interpolator-from "where the file is from"

The renderer draws a scene at any size and at any time, so the truth is known: what a scene looks like twice as large,
and between two frames. "Edges" is the PSNR of the tenth of the pixels with the steepest edges; "detail" is the energy
of the finest structures (of a Laplacian), as a share of the truth's: 1 is as sharp, less is softer. "cpu_seconds" are
those of all cores for a frame in between, H.264 included.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from wan_pipeline.clips.encode import encode
from wan_pipeline.clips.export.bit_depth import widened
from wan_pipeline.clips.read import read_frames
from wan_pipeline.demo.scenes import Scenes, render, sample_scenes
from wan_pipeline.engine.device.environment import fixed_facts
from wan_pipeline.engine.device.placement import choose_placement
from wan_pipeline.engine.interpolator.files import interpolators_in
from wan_pipeline.engine.upscaler.frames import frame_upscaler
from wan_pipeline.jobs.handover.enlarge import interpolate
from wan_pipeline.progress import SilentObserver
from wan_pipeline.settings import Settings

Frame = NDArray[np.uint8]
Scores = dict[str, float]
SEED = 20261126
STILLS, MOVING = 24, 8
"""Scenes for larger frames, and for frames in between."""
LARGE = (480, 288)
"""Width and height of the truth."""
CLIP_SIZE, CLIP_FRAMES, CLIP_FPS = (320, 192), 9, 8
"""Slow enough for things to move between two frames."""
STEEPEST = 0.1
"""Share of the pixels that count as edges."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--interpolator", type=Path, help="a safetensors file of RIFE, to be measured too")
    parser.add_argument("--interpolator-from", default="", help="where that file is from, for the results")
    options = parser.parse_args()
    with TemporaryDirectory() as folder:
        settings = replace(Settings(), workspace=Path(folder) / "workspace", models=Path(folder) / "models")
        settings.make_folders()
        settings.interpolators.mkdir(parents=True)
        if options.interpolator:
            shutil.copy(options.interpolator, settings.interpolators)
        result = {
            **_facts(settings),
            "interpolators": {options.interpolator.stem: options.interpolator_from} if options.interpolator else {},
            "larger": [_larger(settings, factor) for factor in (2, 3, 4)],
            "between": [_between(settings, factor) for factor in (2, 4)],
        }
    text = json.dumps(result, indent=2)
    print(text)
    print(table(result))
    if options.output:
        options.output.write_text(text + "\n", encoding="utf-8")


def table(result: dict[str, Any]) -> str:
    """The table of docs/handover.md."""
    lines = ["| what | way | PSNR | edges | detail |", "|---|---|---|---|---|"]
    for what, rows in (("larger, x {}", result["larger"]), ("frames, x {}", result["between"])):
        for row in rows:
            for way, scores in row["ways"].items():
                values = f"{scores['psnr']:.1f} dB | {scores['edges']:.1f} dB | {scores['detail']:.2f}"
                lines.append(f"| {what.format(row['factor'])} | {way} | {values} |")
    return "\n".join(lines)


def _facts(settings: Settings) -> dict[str, Any]:
    facts = fixed_facts(choose_placement(settings.device))
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{facts['device_name']}, {platform.system()}, Python {platform.python_version()}",
        "versions": {name: version(name) for name in ("torch", "numpy", "pillow", "imageio-ffmpeg")},
        "scenes": {"larger": STILLS, "between": MOVING, "seed": SEED},
        "sizes": {"larger": list(LARGE), "between": list(CLIP_SIZE)},
    }


# Larger frames


def _larger(settings: Settings, factor: int) -> dict[str, Any]:
    """Each scene drawn at both sizes, one frame of each."""
    scenes = sample_scenes(STILLS, torch.Generator().manual_seed(SEED))
    truth, small = (_stills(scenes, *(side // by for side in LARGE)) for by in (1, factor))
    network = frame_upscaler(settings, factor)
    ways: dict[str, Callable[[Frame], Frame]] = {
        "Lanczos": lambda frame: np.asarray(Image.fromarray(frame).resize(LARGE, Image.Resampling.LANCZOS)),
        network.method: lambda frame: _eight(network.change(widened(frame))),
    }
    return {"factor": factor, "ways": {name: _measured(way, small, truth) for name, way in ways.items()}}


def _measured(way: Callable[[Frame], Frame], small: Sequence[Frame], truth: Sequence[Frame]) -> Scores:
    return _mean([_scores(way(frame), large) for frame, large in zip(small, truth, strict=True)])


def _stills(scenes: Scenes, width: int, height: int) -> list[Frame]:
    pixels, _ = render(scenes, width, height, torch.tensor([8]), 17)
    return [_levels(picture[:, 0]) for picture in pixels]


# Frames in between


def _between(settings: Settings, factor: int) -> dict[str, Any]:
    """Each scene drawn at all times; every `factor`-th frame is given, and the others are compared."""
    scenes = sample_scenes(MOVING, torch.Generator().manual_seed(SEED))
    ways: dict[str, Callable[[Sequence[Frame]], Sequence[Frame]]] = {
        "blending": lambda given: _blended(given, factor),
        **{
            name: partial(_interpolated, settings, factor, name)
            for name in interpolators_in(settings.interpolators).names()
        },
    }
    found: dict[str, list[Scores]] = {name: [] for name in ways}
    for number in range(MOVING):
        truth = _moving(scenes.select(torch.tensor([number])), factor)
        given = truth[::factor]
        for name, way in ways.items():
            before = _cpu_seconds()
            frames, seconds = way(given), _cpu_seconds() - before
            made = [at for at in range(len(truth)) if at % factor]
            found[name] += [_scores(frames[at], truth[at]) | {"cpu_seconds": seconds / len(made)} for at in made]
    return {"factor": factor, "ways": {name: _mean(scores) for name, scores in found.items()}}


def _moving(scene: Scenes, factor: int) -> list[Frame]:
    count = (CLIP_FRAMES - 1) * factor + 1
    pixels, _ = render(scene, *CLIP_SIZE, torch.arange(count), count, fps=CLIP_FPS * factor)
    return [_levels(pixels[0, :, at]) for at in range(count)]


def _blended(given: Sequence[Frame], factor: int) -> list[Frame]:
    """A cross-fade from each frame to the next."""
    frames = []
    for one, other in pairwise(given):
        shares = [at / factor for at in range(factor)]
        frames += [np.rint(one * (1 - share) + other * share).astype(np.uint8) for share in shares]
    return [*frames, given[-1]]


def _cpu_seconds() -> float:
    """Of this process and those it has waited for, over all cores."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _interpolated(settings: Settings, factor: int, model: str, given: Sequence[Frame]) -> list[Frame]:
    """As `interpolate` makes them of a clip, its H.264 included."""
    with TemporaryDirectory() as folder:
        clip, smooth = Path(folder) / "clip.mp4", Path(folder) / "smooth.mp4"
        encode(np.stack(given), CLIP_FPS, clip, None)
        interpolate(clip, factor, smooth, settings, SilentObserver(), model)
        return list(read_frames(smooth))


# Measures


def _scores(made: Frame, truth: Frame) -> Scores:
    error = ((made.astype(np.float64) - truth) ** 2).mean(axis=2)
    steepness = np.hypot(*np.gradient(truth.astype(np.float64).mean(axis=2)))
    edges = steepness >= np.quantile(steepness, 1 - STEEPEST)
    return {
        "psnr": _decibels(error.mean()),
        "edges": _decibels(error[edges].mean()),
        "detail": _fine(made) / _fine(truth),
    }


def _decibels(error: float) -> float:
    return float(10 * np.log10(255**2 / max(error, 1e-9)))


def _fine(frame: Frame) -> float:
    """Mean square of the Laplacian of the grey picture."""
    grey = frame.astype(np.float64).mean(axis=2)
    inner = grey[1:-1, 1:-1]
    laplacian = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * inner
    return float((laplacian**2).mean())


def _mean(scores: Sequence[Scores]) -> Scores:
    return {name: round(mean(each[name] for each in scores), 3) for name in scores[0]}


def _levels(pixels: torch.Tensor) -> Frame:
    """(3, H, W) from 0 to 1 as (H, W, 3) of 8 bits."""
    levels: Frame = pixels.permute(1, 2, 0).mul(255).round().byte().numpy()
    return levels


def _eight(levels: NDArray[np.uint16]) -> Frame:
    return np.rint(levels / 257).astype(np.uint8)


if __name__ == "__main__":
    main()
