"""Speed and memory at the real shapes, with random weights made on the fly: one JSON, one table.

    python -m benchmarks.gpu --output gpu.json rates clip_14b_720p  # some cases; each in a process of its own
    python -m benchmarks.gpu --output gpu.json --table docs/gpu.md  # no case: only the table of what is there
    python -m benchmarks.gpu --tiny --output /tmp/tiny.json all     # the same code on a CPU, on models of two layers

Times are medians of passes of the transformer (half a step with
guidance), memory is the peak that torch's allocator had reserved.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from benchmarks.gpu.bench import Bench
from benchmarks.gpu.clip import whole_clip
from benchmarks.gpu.eight_bits import attention, demo_clips, eight_bits
from benchmarks.gpu.fused import fused
from benchmarks.gpu.loras import loras_8_blocks, loras_14b, loras_compiled_14b
from benchmarks.gpu.parts import activations, text, vae
from benchmarks.gpu.passes import best, quantized, rates, stock_offload, streaming_14b
from benchmarks.gpu.program import Program
from benchmarks.gpu.seedvr import seedvr
from benchmarks.gpu.sizes import LARGE, MIDDLE, SMALL
from benchmarks.gpu.table import table
from wan_pipeline.engine.upscaler.seedvr.transformer import Kind
from wan_pipeline.models.memory import WAN_1_3B, WAN_14B

CASES: dict[str, Callable[[Bench], dict[str, Any]]] = {
    "rates": rates,
    "streaming_14b": streaming_14b,
    "int8_1.3b": quantized(WAN_1_3B),
    "int8_14b": quantized(WAN_14B),
    "best_14b": best,
    "fused_480p": fused(SMALL),
    "fused_720p": fused(MIDDLE),
    "eight_bits_480p": eight_bits(SMALL),
    "eight_bits_720p": eight_bits(MIDDLE),
    "attention": attention,
    "demo_clips": demo_clips,
    "loras_14b": loras_14b,
    "loras_8_blocks": loras_8_blocks,
    "loras_compiled_14b": loras_compiled_14b,
    "stock_offload_14b": stock_offload,
    "activations": activations,
    "vae": vae,
    "text": text,
    "seedvr_720p": seedvr(1280, 720),
    "seedvr_1088p": seedvr(1920, 1088),
    "seedvr_7b_1088p": seedvr(1920, 1088, Kind.LARGE),
    "clip_14b_480p": whole_clip("wan2.1-t2v-14b", SMALL, 7.2, 3, 5.0),
    "clip_14b_720p": whole_clip("wan2.1-t2v-14b", MIDDLE, 7.2, 2, 5.0),
    "clip_14b_1088p": whole_clip("wan2.1-t2v-14b", LARGE, 10.8, 1, 1.0),
    "clip_a14b_480p": whole_clip("wan2.2-t2v-a14b", SMALL, 7.2, 4, 4.0),
}


PROGRAM = Program("benchmarks.gpu", __doc__.splitlines()[0], CASES, table, rounds=3, within=torch.inference_mode)
