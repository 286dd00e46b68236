"""Passes of the transformer: what the device reaches, streamed, quantized, compiled, and the libraries' own offload."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from benchmarks.gpu.bench import DTYPE, Bench, to_host
from benchmarks.gpu.sizes import SMALL
from wan_pipeline.engine.memory.block_streaming import streaming
from wan_pipeline.engine.memory.chunked_forward import chunked
from wan_pipeline.engine.memory.inner_tensors import blocks_of, map_tensors
from wan_pipeline.models.memory import WAN_14B, MemoryFacts
from wan_pipeline.models.precision import Precision
from wan_pipeline.planning.transformer import chunk_tokens

ATTENTION = {
    "cudnn": SDPBackend.CUDNN_ATTENTION,
    "flash": SDPBackend.FLASH_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
}


def rates(bench: Bench) -> dict[str, Any]:
    """What the device reaches at the 14B model's shapes, for the floor: operations over these. Copies in GB/s."""
    tokens, width, wide = (64, 48, 96) if bench.tiny else (32760, 5120, 13824)
    x, w = (torch.randn(size, width, device=bench.device, dtype=DTYPE) for size in (tokens, wide))
    shape = (1, 3, 64, 16) if bench.tiny else (1, 40, 32760, 128)
    query, key, value = (torch.randn(shape, device=bench.device, dtype=DTYPE) for _ in range(3))
    operations = 4e-12 * shape[1] * shape[2] ** 2 * shape[3]
    result = {"matmul_tflops": round(2e-12 * tokens * width * wide / bench.seconds(lambda: x @ w.T), 1)}
    for name, backend in ({"math": SDPBackend.MATH} if bench.device.type == "cpu" else ATTENTION).items():
        with suppress(RuntimeError), sdpa_kernel(backend):  # not every device has all of them
            seconds = bench.seconds(lambda: scaled_dot_product_attention(query, key, value))
            result[f"{name}_attention_tflops"] = round(operations / seconds, 1)
    result["attention_tflops"] = max(value for name, value in result.items() if "attention" in name)
    if bench.device.type == "cuda":
        for name, pinned in (("pinned", True), ("plain", False)):
            host = torch.empty(2**30, dtype=torch.uint8, pin_memory=pinned).fill_(1)
            result[f"{name}_copy_gb_s"] = round(2**30 / 1e9 / bench.seconds(partial(host.to, bench.device)), 1)
    return result


def streaming_14b(bench: Bench) -> dict[str, Any]:
    """int8, 480p, chunked: streamed against resident in one process, the same bits, the peaks; and fused as well."""
    model = bench.transformer(WAN_14B, Precision.INT8)
    streamed, given = to_host(model), bench.inputs(SMALL)
    part = chunk_tokens(WAN_14B, 64 if bench.tiny else 32760)
    result: dict[str, Any] = {}
    outputs = []
    for name, resident, chunk, fused in (
        ("resident", len(streamed.blocks), part, False),
        ("streamed", 0, part, False),
        ("resident_whole", len(streamed.blocks), 0, False),
        ("streamed_whole", 0, 0, False),
        ("fused", 0, part, True),
    ):
        bench.rest()
        with streaming([streamed], bench.device, resident), chunked(model, chunk, fused=fused):
            result[f"{name}_seconds"] = bench.seconds(partial(model, **given))
            outputs.append(model(**given)[0].cpu())
        result[f"{name}_peak_gib"] = bench.peak()
    result["identical"] = outputs[0].equal(outputs[1]) and outputs[2].equal(outputs[3])
    result["parts_error"] = round(float((outputs[0] - outputs[2]).norm() / outputs[2].norm()), 5)
    result["ratio"] = round(result["streamed_seconds"] / result["resident_seconds"], 3)
    result["ratio_whole"] = round(result["streamed_seconds"] / result["resident_whole_seconds"], 3)
    return result


def quantized(facts: MemoryFacts) -> Callable[[Bench], dict[str, Any]]:
    """Quantized weights against bf16, uncompiled, and stock quanto layers; errors against bf16 of the same weights."""

    def case(bench: Bench) -> dict[str, Any]:
        given, result, exact = bench.inputs(SMALL), {}, None
        for precision in (Precision.BF16, Precision.INT8, Precision.FP8, *bench.fp8_compute()):
            model = bench.transformer(facts, precision)
            result[f"{precision}_seconds"] = bench.seconds(partial(model, **given))
            output = model(**given)[0].float()
            if exact is None:
                exact = output
            else:
                result[f"{precision}_error"] = round(float((output - exact).norm() / exact.norm()), 5)
            del model
            bench.rest()
        if bench.device.type != "cpu":  # on some processors it crashes
            from optimum.quanto import freeze, qint8
            from optimum.quanto import quantize as stock

            model = bench.transformer(facts, Precision.BF16)
            for block in blocks_of(model):
                stock(block, weights=qint8)
                freeze(block)
            result["stock_quanto_seconds"] = bench.seconds(partial(model, **given))
        result["ratio"] = round(result["int8_seconds"] / result["bf16_seconds"], 3)
        return result

    return case


def best(bench: Bench) -> dict[str, Any]:
    """Compiled blocks and the ways of attention, against the stock bf16 pass; 14B at 480p."""
    given, result, fastest = bench.inputs(SMALL), {}, "native"
    for precision in (Precision.BF16, *bench.fp8_compute(), Precision.INT8):
        model = bench.transformer(WAN_14B, precision)
        if precision is Precision.BF16:
            backends = ("native", "_native_cudnn", "_native_flash") if bench.device.type == "cuda" else ("native",)
            for backend in backends:
                model.set_attention_backend(backend)
                result[f"bf16_{backend}_seconds"] = bench.seconds(partial(model, **given), 2)
            fastest = min(backends, key=lambda name: result[f"bf16_{name}_seconds"])
        model.set_attention_backend(fastest)
        for block in blocks_of(model):
            block.forward = torch.compile(block.forward, backend="eager" if bench.tiny else "inductor")
        started = time.perf_counter()
        model(**given)
        result[f"{precision}_compiling_seconds"] = round(time.perf_counter() - started, 1)
        result[f"{precision}_compiled_seconds"] = bench.seconds(partial(model, **given))
        del model
        bench.rest()
    compiled = [value for name, value in result.items() if name.endswith("_compiled_seconds")]
    result["ratio"] = round(min(compiled) / result["bf16_native_seconds"], 3)
    result["ratio_bf16"] = round(result["bf16_compiled_seconds"] / result["bf16_native_seconds"], 3)
    return result


def stock_offload(bench: Bench) -> dict[str, Any]:
    """In bf16 at 480p, eight of the 14B model's forty blocks, by pass: accelerate's model offload (one move, then
    resident), diffusers' group offload with a stream, and our streaming.
    """
    from diffusers.hooks import apply_group_offloading

    model, given = bench.transformer(replace(WAN_14B, layers=8), Precision.BF16), bench.inputs(SMALL)
    streamed, result = to_host(model), dict[str, Any]()
    part = chunk_tokens(WAN_14B, 64 if bench.tiny else 32760)
    for name in ("streamed", "fused"):
        bench.rest()
        with streaming([streamed], bench.device, 0), chunked(model, part, fused=name == "fused"):
            result[f"{name}_seconds"] = bench.seconds(partial(model, **given))
        result[f"{name}_peak_gib"] = bench.peak()
    map_tensors(model, torch.clone)  # from pinned slabs to memory of their own
    bench.rest()
    started = time.perf_counter()
    model.to(bench.device)
    bench.wait()
    result["model_offload_move_seconds"] = round(time.perf_counter() - started, 2)
    result["model_offload_seconds"] = bench.seconds(partial(model, **given))
    result["model_offload_peak_gib"] = bench.peak()
    model.to("cpu")
    bench.rest()
    if bench.device.type == "cuda":
        started = time.perf_counter()
        apply_group_offloading(
            model, bench.device, torch.device("cpu"), "block_level", num_blocks_per_group=1, use_stream=True
        )
        result["group_offload_prepare_seconds"] = round(time.perf_counter() - started, 1)
        result["group_offload_seconds"] = bench.seconds(partial(model, **given))
        result["group_offload_peak_gib"] = bench.peak()
    return result
