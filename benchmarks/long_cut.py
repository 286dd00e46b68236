"""Memory and time of a cut of ten minutes at 1280x720: frames flow through, whatever the length.

    python -m benchmarks.long_cut --output benchmarks/results/long_cut.json
    python -m benchmarks.long_cut --minutes 0.2 --size 160x96 --output /tmp/short.json    # to try it

A few clips of moving stripes with a tone are encoded as the studio does it, and cut together again and again, with
dissolves and titles, until the cut is long enough. It is rendered in a process of its own, whose memory is that of the
process and of the ffmpeg that it starts.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from fractions import Fraction
from importlib.metadata import version
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import imageio_ffmpeg
import numpy as np
import psutil

from wan_pipeline.clips.encode import encode
from wan_pipeline.progress import SilentObserver
from wan_pipeline.projects.cut.cut import Title
from wan_pipeline.projects.cut.rendering import sequence as rendering
from wan_pipeline.projects.cut.rendering.render import render_mp4, render_prores
from wan_pipeline.settings import Settings

RATE = 24
CLIPS, CLIP_FRAMES = 6, 81
DISSOLVE = 12
FORMATS = ("mp4", "prores")
"""H.264 of 8 bits with sound by moviepy, and ProRes 422 HQ of 10 bits by ffmpeg's pipe."""
EVERY = 0.1
"""Seconds between two looks at the memory."""
MIB = 2**20


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.long_cut", description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--size", default="1280x720")
    parser.add_argument("--format", choices=FORMATS, action="append", help="one of them; repeat it for several (all)")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/long_cut.json"))
    parser.add_argument("--inside", nargs=2, metavar=("FORMAT", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        render(options.inside[0], Path(options.inside[1]), options.minutes)
        return
    width, height = map(int, options.size.split("x"))
    results: dict[str, Any] = json.loads(options.output.read_text("utf-8")) if options.output.is_file() else {}
    results |= {"size": [width, height], "minutes": options.minutes, "about": about()}
    with TemporaryDirectory(prefix="long-cut-") as folder:
        for number in range(CLIPS):
            make_clip(Path(folder), number, width, height)
        for kind in options.format or FORMATS:
            results[kind] = measured(kind, Path(folder), options.minutes)
            print(kind, results[kind], flush=True)
    options.output.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def make_clip(folder: Path, number: int, width: int, height: int) -> None:
    """Slanting stripes that move over a gradient, with a tone that the next clips have in other pitches."""
    rows, columns = np.mgrid[0:height, 0:width]
    shade = (columns * 255 // width).astype(np.uint8)
    frames = np.empty((CLIP_FRAMES, height, width, 3), np.uint8)
    for index, frame in enumerate(frames):
        stripes = ((columns + rows + index * (2 + number)) // 24 % 2 * 120).astype(np.uint8)
        frame[...] = np.stack([stripes + 40, shade, 255 - shade // (1 + number)], axis=-1)
    silent = folder / f"silent-{number}.mp4"
    encode(frames, RATE, silent, None)
    tone = f"sine=frequency={220 + 110 * number}:duration={CLIP_FRAMES / RATE}"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(silent), "-f", "lavfi", "-i", tone]
    subprocess.run([*command, "-c:v", "copy", "-c:a", "aac", str(folder / f"{number}.mp4")], check=True)


def render(kind: str, folder: Path, minutes: float) -> None:
    """Render the cut, in this process."""
    settings = Settings(workspace=folder / "workspace")
    settings.make_folders()
    known = rendering.KnownClips()
    cut = long_cut([known.look(folder / f"{number}.mp4") for number in range(CLIPS)], minutes)
    if kind == "mp4":
        render_mp4(cut, folder / "cut.mp4", settings, known.sound_seconds, SilentObserver())
    else:
        render_prores(cut, folder / "cut.mov", settings, SilentObserver())


def long_cut(sources: Sequence[Any], minutes: float) -> rendering.Sequence:
    """The clips in turn: every third one comes with a dissolve, every fourth one has a title."""
    pieces: list[rendering.Piece] = []
    frames = 0
    for number, source in enumerate(cycle(sources)):
        if frames >= minutes * 60 * RATE:
            break
        dissolve = DISSOLVE if number and number % 3 == 0 else 0
        title = Title(f"Scene {number}") if number % 4 == 0 else None
        pieces.append(rendering.Piece(source, 0, source.frames, dissolve=dissolve, title=title))
        frames += pieces[-1].frames - dissolve
    return rendering.Sequence("long", Fraction(RATE), tuple(pieces))


def measured(kind: str, folder: Path, minutes: float) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.long_cut", "--minutes", str(minutes), "--inside", kind, str(folder)]
    started = time.perf_counter()
    with subprocess.Popen(command) as process, peaks(process.pid) as peak:
        if process.wait():
            raise SystemExit(process.returncode)
    return {
        "seconds": round(time.perf_counter() - started, 1),
        "frames": round(minutes * 60 * RATE),
        "peak_mib": round(peak["all"] / MIB),
        "of_it_ffmpeg_mib": round(peak["ffmpeg"] / MIB),
    }


@contextmanager
def peaks(pid: int) -> Iterator[dict[str, float]]:
    """Context manager: the most memory at one time of a process and what it starts, and ffmpeg's share of that."""
    found, ended = {"all": 0.0, "ffmpeg": 0.0}, threading.Event()

    def watch() -> None:
        while not ended.wait(EVERY):
            own, others = memory(pid)
            if own + others > found["all"]:
                found.update(all=own + others, ffmpeg=others)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield found
    finally:
        ended.set()
        watcher.join()


def memory(pid: int) -> tuple[float, float]:
    """Bytes in memory of a process, and of those that it has started."""
    try:
        process = psutil.Process(pid)
        started = process.children(recursive=True)
        return process.memory_info().rss, sum(child.memory_info().rss for child in started)
    except psutil.Error:  # one of them has just ended
        return 0.0, 0.0


def about() -> dict[str, Any]:
    names = ("moviepy", "imageio-ffmpeg", "numpy")
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        **{name: version(name) for name in names},
    }


if __name__ == "__main__":
    main()
