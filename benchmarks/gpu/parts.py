"""What the parts of a model take: activations of a pass, the VAE, the text encoder."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from benchmarks.gpu.bench import Bench, text_module, to_host, vae_2_1, vae_2_2
from benchmarks.gpu.clip import Watch
from benchmarks.gpu.sizes import BROAD, LARGE, MIDDLE, SMALL
from wan_pipeline.engine.decoding.decode import decode as decode_frames
from wan_pipeline.engine.memory.block_streaming import StreamedModel, streaming
from wan_pipeline.engine.memory.chunked_forward import chunked
from wan_pipeline.engine.memory.offload import tiled_encode
from wan_pipeline.engine.memory.quantize import skeleton
from wan_pipeline.models.memory import WAN_1_3B, WAN_5B, WAN_14B
from wan_pipeline.models.precision import Precision
from wan_pipeline.planning.geometry import Geometry
from wan_pipeline.planning.transformer import chunk_tokens

VAE_CASES = {
    "wan2.1": ((SMALL, 0), (MIDDLE, 0), (MIDDLE, 512), (MIDDLE, 384), (MIDDLE, 256)),
    "wan2.2": ((BROAD, 0), (BROAD, 256)),
}


def activations(bench: Bench) -> dict[str, Any]:
    """Peak activations of a pass in GiB, by stock, chunked and fused forward, with two layers; more take no more."""
    result: dict[str, Any] = {}
    sizes = {"14b": (WAN_14B, (SMALL, MIDDLE, LARGE)), "1.3b": (WAN_1_3B, (SMALL,)), "5b": (WAN_5B, (BROAD,))}
    for name, (facts, clips) in sizes.items():
        model = bench.transformer(replace(facts, layers=2), Precision.INT8)
        for clip in clips:
            given = bench.inputs(clip, facts)
            scale = 32 if facts.expands_timesteps else 16
            count = ((clip.num_frames - 1) // 4 + 1) * (clip.height // scale) * (clip.width // scale)
            part = chunk_tokens(facts, count)
            for kind, tokens in (("whole", 0), ("parts", part), ("fused", part)):
                bench.rest()
                before = bench.allocated()
                with chunked(model, tokens, fused=kind == "fused"):
                    seconds = bench.seconds(partial(model, **given), 1)
                key = f"{name}_{clip.width}x{clip.height}_{kind}"
                result[key] = {"gib": round(bench.peak() - before, 3), "seconds": seconds}
        del model
    return result


def vae(bench: Bench) -> dict[str, Any]:
    """Decoding, by the side of the tiles, and encoding: GiB beside the weights, and seconds, of 17 frames."""
    result: dict[str, Any] = {}
    for name, module in {"wan2.1": vae_2_1(bench), **({} if bench.tiny else {"wan2.2": skeleton(vae_2_2)})}.items():
        bench.fill(module)
        for dtype in (torch.float32, torch.bfloat16):
            module.to(bench.device, dtype)
            for clip, tile in VAE_CASES[name]:
                short = bench.clip(replace(clip, num_frames=17))
                kind = f"{clip.width}x{clip.height}_{str(dtype)[6:]}_{tile or 'whole'}"
                result[f"{name}_decode_{kind}"] = of_action(bench, partial(decode, bench, module, short, tile))
                if tile in (0, 256):
                    result[f"{name}_encode_{kind}"] = of_action(
                        bench, partial(encode, bench, module, short, bool(tile))
                    )
        module.to("cpu")
    return result


def of_action(bench: Bench, action: Callable[[], None]) -> dict[str, float]:
    bench.rest()
    before, started = bench.allocated(), time.perf_counter()
    action()
    bench.wait()
    return {"gib": round(bench.peak() - before, 3), "seconds": round(time.perf_counter() - started, 2)}


def decode(bench: Bench, module: Any, clip: Geometry, tile: int) -> None:
    ratio = module.spatial_compression_ratio
    shape = (1, module.config.z_dim, (clip.num_frames - 1) // 4 + 1, clip.height // ratio, clip.width // ratio)
    decode_frames(module, torch.randn(shape, device=bench.device), Watch(bench), tile)


def encode(bench: Bench, module: Any, clip: Geometry, in_tiles: bool) -> None:
    """A whole clip, as for one that begins with an image."""
    video = torch.zeros(1, 3, clip.num_frames, clip.height, clip.width, device=bench.device, dtype=module.dtype)
    with tiled_encode(module) if in_tiles else nullcontext():
        module.encode(video, return_dict=False)


def text(bench: Bench) -> dict[str, Any]:
    """UMT5-XXL on the device, and streamed to it."""
    module = text_module(bench)
    bench.fill(module)
    encoder, result = to_host(module), dict[str, Any]()
    for name, resident in (("resident", len(encoder.blocks)), ("streamed", 0)):
        bench.rest()
        with streaming([encoder], bench.device, resident):
            result[f"{name}_seconds"] = bench.seconds(lambda: read(bench, encoder))
        result[f"{name}_gib"] = bench.peak()
    return result


def read(bench: Bench, encoder: StreamedModel) -> None:
    encoder.module(torch.ones(1, 512 if not bench.tiny else 8, dtype=torch.long, device=bench.device))
