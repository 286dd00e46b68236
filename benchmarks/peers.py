"""Time a peer's own forward pass beside ours, with random weights at the same shapes in one process.

    python -m benchmarks.peers --peer lightx2v=~/peers/lightx2v_pass.py --output build/peers.json

A peer is a Python file outside of this repository with a function `build(shape, given)`, which returns the passes by
name, each a function without arguments; benchmarks/peers.md says how. All passes, and diffusers' stock forward in bf16
first, are timed in turns, so that a GPU that slows down slows all of them.
"""

from __future__ import annotations

import argparse
import json
import runpy
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch

from benchmarks.demo.report import machine
from benchmarks.gpu.bench import Bench
from benchmarks.gpu.eight_bits import BLOCKS
from benchmarks.gpu.sizes import MIDDLE, SMALL
from wan_pipeline.models.memory import WAN_14B
from wan_pipeline.models.precision import Precision

CLIPS = {"480p": SMALL, "720p": MIDDLE}
STOCK = "diffusers bf16"
Pass = Callable[[], Any]


@dataclass(frozen=True)
class Shape:
    """What a peer builds: some blocks of a Wan 2.1 transformer."""

    layers: int
    width: int
    heads: int
    feed_forward: int
    device: torch.device


def peer_passes(files: dict[str, Path], shape: Shape, given: dict[str, Any]) -> dict[str, Pass]:
    """The passes of each peer's file, by names such as `lightx2v fp8`."""
    passes: dict[str, Pass] = {}
    for name, path in files.items():
        build = runpy.run_path(str(path.expanduser()))["build"]
        passes |= {f"{name} {kind}": action for kind, action in build(shape, given).items()}
    return passes


def in_turns(bench: Bench, passes: dict[str, Pass]) -> dict[str, float]:
    """Median seconds of each, of rounds that have one pass of each; the first round warms up."""
    taken: dict[str, list[float]] = {name: [] for name in passes}
    for _ in range(bench.rounds + 1):
        for name, action in passes.items():
            bench.wait()
            started = time.perf_counter()
            action()
            bench.wait()
            taken[name].append(time.perf_counter() - started)
    return {name: median(seconds[1:]) for name, seconds in taken.items()}


def measure(bench: Bench, size: str, files: dict[str, Path]) -> dict[str, Any]:
    """Seconds of each pass, and its ratio to the stock one."""
    facts, given = bench.facts(replace(WAN_14B, layers=BLOCKS)), bench.inputs(CLIPS[size])
    model = bench.transformer(replace(WAN_14B, layers=BLOCKS), Precision.BF16)
    heads = bench.shape(facts)["num_attention_heads"]
    shape = Shape(facts.layers, facts.width, heads, facts.feed_forward, bench.device)
    with torch.inference_mode():
        seconds = in_turns(bench, {STOCK: partial(model, **given), **peer_passes(files, shape, given)})
    stock = seconds[STOCK]
    rows = {name: {"seconds": round(own, 4), "ratio": round(own / stock, 3)} for name, own in seconds.items()}
    return {"size": size, "blocks": facts.layers, "machine": machine(), "torch": torch.__version__, "passes": rows}


def _peer(text: str) -> tuple[str, Path]:
    name, _, path = text.partition("=")
    if not path:
        raise argparse.ArgumentTypeError(f"'{text}' names no file; write NAME=FILE.py.")
    return name, Path(path)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__.splitlines()[0])
    parser.add_argument("--peer", type=_peer, action="append", default=[], metavar="NAME=FILE.py")
    parser.add_argument("--size", choices=CLIPS, default="480p")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tiny", action="store_true", help="three small blocks, to see whether all of it runs")
    parser.add_argument("--output", type=Path, help="JSON file to write")
    options = parser.parse_args()
    with TemporaryDirectory() as folder:
        report = measure(Bench(options.tiny, options.rounds, Path(folder)), options.size, dict(options.peer))
    print(json.dumps(report, indent=1))
    if options.output:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
