"""The table of `python -m benchmarks.gpu`: what must be, what was measured, and how near it is to the floor."""

from __future__ import annotations

from typing import Any

from wan_pipeline.models import registry
from wan_pipeline.models.precision import Precision
from wan_pipeline.planning.costs import denoising_cost
from wan_pipeline.planning.geometry import Geometry
from wan_pipeline.planning.machine import GIB, REFERENCE
from wan_pipeline.planning.memory_plan import MemoryPlan, Residency
from wan_pipeline.planning.transformer import chunk_tokens, operations

ROWS = (
    ("14B int8, 832x480x81, streamed / resident pass", "streaming_14b", "ratio", "1.03", "1.00"),
    ("streamed / resident with the stock forward", "streaming_14b", "ratio_whole", "", ""),
    ("streamed, peak reserved, GiB", "streaming_14b", "streamed_peak_gib", "5.5", "4.5"),
    ("streamed output is resident output", "streaming_14b", "identical", "True", "True"),
    ("14B int8, 1280x720x81, whole clip, GiB", "clip_14b_720p", "peak_gib", "7.2", "6.0"),
    ("its forecast / measured - 1", "clip_14b_720p", "forecast_error", "0.10", ""),
    ("14B int8, 1920x1088x81, whole clip, GiB", "clip_14b_1088p", "peak_gib", "10.8", "10"),
    ("its forecast / measured - 1", "clip_14b_1088p", "forecast_error", "0.10", ""),
    ("A14B, both experts, 832x480x81, whole clip, GiB", "clip_a14b_480p", "peak_gib", "7.2", "7.2"),
    ("its forecast / measured - 1", "clip_a14b_480p", "forecast_error", "0.10", ""),
    ("its switch of experts, s", "clip_a14b_480p", "switch_seconds", "10", "3"),
    ("int8 / bf16 pass, 1.3B, uncompiled", "int8_1.3b", "ratio", "1.05", "1.00"),
    ("int8 / bf16 pass, 14B, uncompiled", "int8_14b", "ratio", "1.05", "1.00"),
    ("best (fp8 compute, compiled) / stock bf16 pass, 14B 480p", "best_14b", "ratio", "0.80", "0.65"),
    ("exact (bf16, compiled) / stock bf16 pass", "best_14b", "ratio_bf16", "", ""),
    ("best of 8 of 40 blocks / stock bf16, 480p", "fused_480p", "best_ratio", "0.60", "0.57"),
    ("int8 compute, SageAttention, fused", "fused_480p", "int8-compute_sage_resident_ratio", "0.64", "0.60"),
    ("the same, streamed / resident", "fused_480p", "int8-compute_sage_streamed_over_resident", "1.02", ""),
    ("streamed output with all three is resident output", "fused_480p", "int8-compute_identical", "True", "True"),
    ("best of 8 of 40 blocks / stock bf16, 720p", "fused_720p", "best_ratio", "0.60", "0.57"),
    ("int8 compute, SageAttention, fused, 720p", "fused_720p", "int8-compute_sage_resident_ratio", "0.61", "0.57"),
    ("the same, streamed / resident, 720p", "fused_720p", "int8-compute_sage_streamed_over_resident", "1.02", ""),
    ("streamed, peak reserved, GiB, 720p", "fused_720p", "int8-compute_sage_streamed_peak_gib", "5.5", ""),
    ("demo clip, int8 compute to bf16, PSNR in dB", "demo_clips", "int8-compute_psnr_db", "38", ""),
    ("14B int8 streamed, a rank-64 LoRA on all layers / none", "loras_8_blocks", "streamed_1_merged_ratio", "1.05", ""),
    ("the same beside the weights", "loras_8_blocks", "streamed_1_beside_ratio", "", ""),
    ("three LoRAs / none", "loras_8_blocks", "streamed_3_merged_ratio", "", ""),
    ("streamed output with it is resident output", "loras_8_blocks", "identical", "True", "True"),
    ("reading and applying another LoRA, s", "loras_14b", "switch_seconds", "2", ""),
    ("14B int8 streamed and compiled, one LoRA / none", "loras_compiled_14b", "streamed_1_ratio", "1.05", ""),
    ("three LoRAs / none", "loras_compiled_14b", "streamed_3_ratio", "", ""),
    ("resident and compiled, three LoRAs / none", "loras_compiled_14b", "resident_3_ratio", "", ""),
    ("graphs that are compiled when other LoRAs take their place", "loras_compiled_14b", "switch_graphs", "0", "0"),
)
"""Title, case, key, what must be, what is aimed at."""

_14B, _1_3B = "wan2.1-t2v-14b", "wan2.1-t2v-1.3b"
PASSES = (
    ("14B 480p, int8 streamed, chunked forward", "streaming_14b", "streamed_seconds", _14B, (832, 480)),
    ("the same, fused", "streaming_14b", "fused_seconds", _14B, (832, 480)),
    ("14B 480p, int8 resident, stock forward", "streaming_14b", "resident_whole_seconds", _14B, (832, 480)),
    ("14B 480p, bf16 resident, stock", "int8_14b", "bf16_seconds", _14B, (832, 480)),
    ("14B 480p, int8 resident", "int8_14b", "int8_seconds", _14B, (832, 480)),
    ("14B 480p, stock quanto int8", "int8_14b", "stock_quanto_seconds", _14B, (832, 480)),
    ("14B 480p, bf16 compiled", "best_14b", "bf16_compiled_seconds", _14B, (832, 480)),
    ("14B 480p, int8 compiled", "best_14b", "int8_compiled_seconds", _14B, (832, 480)),
    ("14B 480p, fp8 compute, compiled", "best_14b", "fp8-compute_compiled_seconds", _14B, (832, 480)),
    ("14B 720p, int8 streamed, 7.2 GiB", "clip_14b_720p", "pass_seconds", _14B, (1280, 720)),
    ("14B 1088p, int8 streamed, 10.8 GiB", "clip_14b_1088p", "pass_seconds", _14B, (1920, 1088)),
    ("A14B 480p, int8 streamed, 7.2 GiB", "clip_a14b_480p", "pass_seconds", _14B, (832, 480)),
    ("1.3B 480p, bf16, stock", "int8_1.3b", "bf16_seconds", _1_3B, (832, 480)),
    ("1.3B 480p, int8", "int8_1.3b", "int8_seconds", _1_3B, (832, 480)),
    ("1.3B 480p, stock quanto int8", "int8_1.3b", "stock_quanto_seconds", _1_3B, (832, 480)),
)
"""Title, case, key, model, size: one pass of the transformer over 81 frames."""
STOCK = (
    ("our streaming, chunked forward", "streamed"),
    ("the same, fused", "fused"),
    ("accelerate's model offload, after its move", "model_offload"),
    ("diffusers' group offload with a stream", "group_offload"),
)

WAYS = (
    ("bf16, stock", "eight_bits", "bf16"),
    ("bf16, compiled", "eight_bits", "bf16_compiled"),
    ("bf16, fused", "fused", "bf16_resident"),
    ("bf16, SageAttention, compiled", "eight_bits", "bf16_sage_compiled"),
    ("bf16, SageAttention, fused", "fused", "bf16_sage_resident"),
    ("int8 weights, fused", "fused", "int8_resident"),
    ("the same, streamed", "fused", "int8_streamed"),
    ("int8 compute", "eight_bits", "int8-compute"),
    ("int8 compute, compiled", "eight_bits", "int8-compute_compiled"),
    ("int8 compute, fused", "fused", "int8-compute_resident"),
    ("the same, streamed", "fused", "int8-compute_streamed"),
    ("int8 compute, SageAttention", "eight_bits", "int8-compute_sage"),
    ("int8 compute, SageAttention, compiled", "eight_bits", "int8-compute_sage_compiled"),
    ("int8 compute, SageAttention, fused", "fused", "int8-compute_sage_resident"),
    ("the same, streamed", "fused", "int8-compute_sage_streamed"),
    ("fp8 compute, compiled", "eight_bits", "fp8-compute_compiled"),
    ("fp8 compute, SageAttention, compiled", "eight_bits", "fp8-compute_sage_compiled"),
)
"""Title, case and name of the ways of computing 8 blocks. A ratio is to the stock pass of its own process."""


def table(results: dict[str, Any]) -> str:
    """Markdown: what must be, and what was measured; each pass beside its floor; what failed."""
    lines = ["| case | measured | must | aim |", "|---|---|---|---|"]
    for title, case, key, must, aim in ROWS:
        lines.append(f"| {title} | {results.get(case, {}).get(key, 'not run')} | {must} | {aim} |")
    lines += _forecast_of_streaming(results.get("streaming_14b", {}))
    lines += ["", *_passes(results), "", *_stock(results.get("stock_offload_14b", {}))]
    lines += [*_eight_bits(results), *_attention(results.get("attention", {})), *_seedvr(results)]
    failed = [f"{name} failed: {result['error']}" for name, result in results.items() if "error" in result]
    return "\n".join([*lines, *failed]) + "\n"


def _forecast_of_streaming(result: dict[str, Any]) -> list[str]:
    """That of the planner for the same pass."""
    if not result.get("streamed_peak_gib"):
        return []
    spec, clip = registry.find(_14B), Geometry(832, 480, 81, 1)
    plan = MemoryPlan(Residency.STREAMED, Precision.INT8, chunk=chunk_tokens(spec.memory, clip.tokens(spec)))
    forecast = denoising_cost(spec, clip, REFERENCE, plan).vram / GIB
    error = forecast / result["streamed_peak_gib"] - 1
    return [f"| forecast of the streamed pass' peak / measured - 1 | {error:.3f} | 0.10 |  |"]


def _passes(results: dict[str, Any]) -> list[str]:
    """The floor: the operations of a pass over the rates that products and attention reach alone on the same GPU."""
    lines = ["| one pass, 81 frames | seconds | floor | times the floor |", "|---|---|---|---|"]
    rates = results.get("rates", {})
    for title, case, key, model, (width, height) in PASSES:
        seconds = results.get(case, {}).get(key)
        if seconds is None or not rates.get("matmul_tflops"):
            continue
        matmul, attention = operations(registry.find(model), Geometry(width, height, 81, 1))
        floor = matmul / rates["matmul_tflops"] / 1e12 + attention / rates["attention_tflops"] / 1e12
        lines.append(f"| {title} | {seconds:.2f} | {floor:.2f} | {seconds / floor:.2f} |")
    return lines


def _stock(result: dict[str, Any]) -> list[str]:
    lines = ["| eight of the 14B model's blocks in bf16, 480p | seconds a pass | peak, GiB |", "|---|---|---|"]
    for title, name in STOCK:
        if f"{name}_seconds" in result:
            lines.append(f"| {title} | {result[f'{name}_seconds']:.2f} | {result[f'{name}_peak_gib']:.2f} |")
    return lines


def _eight_bits(results: dict[str, Any]) -> list[str]:
    """Ways of computing, by size: seconds of a pass, and relative to the stock bf16 pass of the same process."""
    lines = ["", "| eight of the 14B model's blocks | 832x480x81, s | to stock | 1280x720x81, s | to stock |"]
    lines.append("|---|---|---|---|---|")
    for title, kind, name in WAYS:
        cases = [results.get(f"{kind}_{size}", {}) for size in ("480p", "720p")]
        if all(f"{name}_seconds" in case for case in cases):
            cells = [f"{case[f'{name}_seconds']:.3f} | {case[f'{name}_ratio']:.3f}" for case in cases]
            lines.append(f"| {title} | {' | '.join(cells)} |")
    return lines if len(lines) > 3 else []


def _attention(result: dict[str, Any]) -> list[str]:
    """Each backend's rate at each number of tokens."""
    names = [name for name in ("native", "cudnn", "flash", "efficient", "sage") if f"{name}_32760_tops" in result]
    tokens = sorted({int(key.split("_")[1]) for key in result if key.endswith("_tops")})
    if not names:
        return []
    lines = ["", f"| attention, 40 heads of 128, TOPS | {' | '.join(f'{count:,} tokens' for count in tokens)} |"]
    lines.append("|---" * (1 + len(tokens)) + "|")
    for name in names:
        rates = [f"{result[f'{name}_{count}_tops']:.0f}" for count in tokens]
        lines.append(f"| {name} | {' | '.join(rates)} |")
    return lines


def _seedvr(results: dict[str, Any]) -> list[str]:
    """Pieces of a clip through SeedVR2, by the size they are enlarged to."""
    cases = [case for name, case in results.items() if name.startswith("seedvr") and "seconds" in case]
    if not cases:
        return []
    head = "| SeedVR2, x 2 | frames | seconds | encode | transform | decode | a frame | peak, GiB | same bits |"
    lines = ["", head, "|---" * 9 + "|"]
    for case in cases:
        stages = " | ".join(f"{case[f'{stage}_seconds']:.1f}" for stage in ("encode", "step", "decode"))
        name = f"{case['model']}, {case['size']}"
        each = f"{case['seconds']:.1f} | {stages} | {case['seconds'] / case['frames']:.2f}"
        lines.append(f"| {name} | {case['frames']} | {each} | {case['peak_gib']:.2f} | {case['identical']} |")
    return lines
