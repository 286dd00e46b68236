"""The fused forward at the 14B model's shapes, resident and streamed, with exact attention and with SageAttention."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from benchmarks.gpu.bench import Bench, to_host
from benchmarks.gpu.eight_bits import BLOCKS, attentions
from wan_pipeline.engine.attention.backends import set_attention
from wan_pipeline.engine.memory.block_streaming import streaming
from wan_pipeline.engine.memory.chunked_forward import chunked
from wan_pipeline.models import registry
from wan_pipeline.models.memory import WAN_14B
from wan_pipeline.models.precision import Precision
from wan_pipeline.planning.attention import Attention
from wan_pipeline.planning.geometry import Geometry
from wan_pipeline.planning.transformer import chunk_tokens

PRECISIONS = (Precision.BF16, Precision.INT8, Precision.INT8_COMPUTE)


def fused(clip: Geometry) -> Callable[[Bench], dict[str, Any]]:
    """Passes of some blocks, against the stock bf16 pass of the same process; nothing is compiled."""

    def case(bench: Bench) -> dict[str, Any]:
        given = bench.inputs(clip)
        part = chunk_tokens(WAN_14B, 64 if bench.tiny else clip.tokens(registry.find("wan2.1-t2v-14b")))
        result: dict[str, Any] = {}
        for precision in PRECISIONS:
            if precision is Precision.INT8_COMPUTE and precision not in bench.computing_in_8_bits():
                continue
            model = bench.transformer(replace(WAN_14B, layers=BLOCKS), precision)
            if precision is Precision.BF16:
                result["stock_seconds"] = bench.seconds(partial(model, **given))
                exact = model(**given)[0].float()
            result |= _passes(bench, model, given, part, precision, exact)
            del model
            bench.rest()
        return result | _ratios(result)

    return case


def _passes(
    bench: Bench, model: Any, given: dict[str, Any], part: int, precision: Precision, exact: torch.Tensor
) -> dict[str, Any]:
    """Resident, and streamed with quantized weights: seconds, peaks, the error, and whether both have the same bits."""
    result: dict[str, Any] = {}
    ways = (Attention.FASTEST,) if precision is Precision.INT8 else attentions(bench)
    outputs: dict[str, torch.Tensor] = {}
    for where in ("resident", "streamed") if precision.is_quantized else ("resident",):
        streamed = to_host(model) if where == "streamed" else None
        for attention in ways:
            set_attention(model, attention, "native")
            key = f"{precision}{'_sage' if attention else ''}_{where}"
            bench.rest()
            placed = streaming([streamed], bench.device, 0) if streamed else nullcontext()
            with placed, chunked(model, part, fused=True):
                result[f"{key}_seconds"] = bench.seconds(partial(model, **given))
                output = model(**given)[0].float()
            result[f"{key}_peak_gib"] = bench.peak()
            result[f"{key}_error"] = round(float((output - exact).norm() / exact.norm()), 5)
            before = outputs.setdefault(attention.value, output.cpu())
            result[f"{precision}_identical"] = before.equal(output.cpu()) and result.get(f"{precision}_identical", True)
    return result


def _ratios(result: dict[str, Any]) -> dict[str, float]:
    """Each time over that of the stock bf16 pass, and streamed over resident."""
    seconds = {name[:-8]: value for name, value in result.items() if name.endswith("_seconds")}
    ratios = {f"{name}_ratio": value / seconds["stock"] for name, value in seconds.items()}
    for name, value in seconds.items():
        resident = seconds.get(name.replace("_streamed", "_resident"))
        if name.endswith("_streamed") and resident:
            ratios[f"{name}_over_resident"] = value / resident
    ratios["best_ratio"] = min(value for name, value in ratios.items() if name.endswith("_ratio"))
    return {name: round(value, 3) for name, value in ratios.items()}
