"""One piece of a clip through SeedVR2 at real shapes, with random weights, under the cap of a card of 8 GB."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from benchmarks.gpu.bench import DTYPE, Bench
from wan_pipeline.engine.device.deterministic import deterministic
from wan_pipeline.engine.device.placement import Placement, limit_memory
from wan_pipeline.engine.memory.inner_tensors import map_tensors
from wan_pipeline.engine.memory.quantize import skeleton
from wan_pipeline.engine.upscaler.seedvr import vae
from wan_pipeline.engine.upscaler.seedvr.files import load_text
from wan_pipeline.engine.upscaler.seedvr.restore import Restorer, piece_length
from wan_pipeline.engine.upscaler.seedvr.transformer import PUBLISHED, Kind, Shape, Transformer
from wan_pipeline.engine.upscaler.seedvr.vae import Vae

CAP = 7.2
"""GiB."""
FACTOR = 2
SHORT = 5
"""Frames of the piece that warms up, and is made twice."""
TINY = Shape(width=32, heads=1, head=32, hidden=64, layers=3, own_layers=1, text_width=5120)


def seedvr(width: int, height: int, kind: Kind = Kind.SMALL) -> Callable[[Bench], dict[str, Any]]:
    """Seconds of each stage and the peak of one piece that is enlarged to this size."""

    def case(bench: Bench) -> dict[str, Any]:
        wide, high = (64, 32) if bench.tiny else (width, height)
        frames = 9 if bench.tiny else piece_length(high, wide)
        place = Placement(bench.device, DTYPE)
        shape, widths = (TINY, (32, 32, 32, 32)) if bench.tiny else (PUBLISHED[kind], vae.PUBLISHED)
        networks = random_networks(bench, shape, widths)
        bench.rest()
        limit_memory(place, CAP)
        given = torch.rand(frames, 3, high // FACTOR, wide // FACTOR, generator=torch.Generator().manual_seed(0))
        with deterministic(None):
            restorer = Restorer(*networks, load_text(), place)
            short = [torch.cat(list(_restored(restorer, given[:SHORT]))).cpu() for _ in range(2)]
            bench.rest()
            seconds = staged(bench, restorer, given)
        return {
            "model": kind.value,
            "size": f"{wide}x{high}",
            "frames": frames,
            "cap_gib": CAP,
            "peak_gib": bench.peak(),
            "seconds": round(sum(seconds.values()), 2),
            **{f"{stage}_seconds": round(taken, 2) for stage, taken in seconds.items()},
            "identical": torch.equal(*short) and bool(torch.isfinite(short[0]).all()),
        }

    return case


def random_networks(bench: Bench, shape: Shape, widths: vae.Widths) -> tuple[Transformer, Vae]:
    """In host memory, made on the device block by block."""
    torch.manual_seed(0)
    transformer = skeleton(lambda: Transformer(shape))
    network = skeleton(lambda: Vae(widths))
    assert isinstance(transformer, Transformer)
    assert isinstance(network, Vae)
    others = [child for name, child in transformer.named_children() if name != "blocks"]
    for part in (*transformer.blocks, *others, network):
        bench.fill(part)
        map_tensors(part, lambda tensor: tensor.cpu())
    return transformer, network


def staged(bench: Bench, restorer: Restorer, given: torch.Tensor) -> dict[str, float]:
    """Seconds of encoding, the transformer's step, decoding, and of colours, by the parts of `Restorer.restore`."""
    taken: dict[str, float] = {}
    for stage in ("encode", "step", "decode"):
        method = getattr(restorer, stage)
        setattr(restorer, stage, partial(_timed, bench, taken, stage, method))
    started = time.perf_counter()
    for _ in _restored(restorer, given):
        pass
    bench.wait()
    taken["other"] = time.perf_counter() - started - sum(taken.values())
    return taken


def _timed(bench: Bench, taken: dict[str, float], stage: str, method: Callable[..., Any], *given: Any) -> Any:
    started = time.perf_counter()
    made = method(*given)
    bench.wait()
    taken[stage] = time.perf_counter() - started
    return made


def _restored(restorer: Restorer, given: torch.Tensor) -> Any:
    return restorer.restore(given, 0, FACTOR, lambda _: None)
