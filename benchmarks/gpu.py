"""Speed and memory at the real shapes, with random weights made on the fly: one JSON, one table.

    python -m benchmarks.gpu --output gpu.json rates ratios        # some cases; each in a process of its own
    python -m benchmarks.gpu --output gpu.json --table docs/gpu.md # no case: only the table of what is there
    python -m benchmarks.gpu --tiny --output /tmp/tiny.json all    # the same code on a CPU, on models of two layers

Cases that are in the file already are not run again, so that it may be filled in several short calls. A case that fails
is noted with its error, and the next one runs. Times are medians of passes of the transformer (half a step with
guidance), memory is the peak that torch's allocator had reserved.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from diffusers import AutoencoderKLWan, WanTransformer3DModel
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention
from transformers import UMT5Config, UMT5EncoderModel

from wan_pipeline.engine.chunks import chunked
from wan_pipeline.engine.leaves import blocks_of, each_tensor, move, put
from wan_pipeline.engine.planner import GIB, REFERENCE, Geometry, make_plan
from wan_pipeline.engine.precision import Precision
from wan_pipeline.engine.quantize import computes_fp8, quantize, skeleton
from wan_pipeline.engine.residency import tiled
from wan_pipeline.engine.stream import Streamed, streaming
from wan_pipeline.models import registry
from wan_pipeline.models.memory import WAN_1_3B, WAN_5B, WAN_14B, MemoryFacts

DTYPE = torch.bfloat16
SMALL, MIDDLE, LARGE = (Geometry(*size, 81, 1) for size in ((832, 480), (1280, 720), (1920, 1088)))
BROAD = Geometry(1280, 704, 121, 1)
VAE_CASES = (
    (SMALL, False, 17),
    (SMALL, False, 33),
    (MIDDLE, False, 17),
    (SMALL, True, 17),
    (SMALL, True, 33),
    (MIDDLE, True, 17),
    (MIDDLE, True, 33),
    (LARGE, True, 17),
)
ATTENTION = {
    "cudnn": SDPBackend.CUDNN_ATTENTION,
    "flash": SDPBackend.FLASH_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
}


class Bench:
    """One case in one process."""

    def __init__(self, tiny: bool, rounds: int) -> None:
        accelerator = torch.accelerator.current_accelerator(check_available=True)
        self.device = accelerator or torch.device("cpu")
        self.tiny = tiny
        self.rounds = rounds

    def facts(self, facts: MemoryFacts) -> MemoryFacts:
        return replace(facts, layers=3, width=48, feed_forward=96) if self.tiny else facts

    def clip(self, clip: Geometry) -> Geometry:
        return replace(clip, width=96, height=64, num_frames=5) if self.tiny else clip

    def cap(self, gib: float) -> None:
        """From here on the allocator gives no more than this."""
        self.rest()
        if self.device.type == "cuda":
            total = torch.cuda.mem_get_info()[1]
            torch.cuda.set_per_process_memory_fraction(gib * GIB / total)

    def rest(self) -> None:
        if self.device.type != "cpu":
            torch.accelerator.synchronize()
            torch.accelerator.empty_cache()
            torch.accelerator.reset_peak_memory_stats()

    def peak(self) -> float:
        """GiB reserved since the last rest; 0 on a CPU."""
        return 0.0 if self.device.type == "cpu" else round(torch.accelerator.max_memory_reserved() / GIB, 2)

    def seconds(self, action: Callable[[], Any], rounds: int | None = None) -> float:
        """Median, after one round that does not count."""
        taken = []
        for _ in range((rounds or self.rounds) + 1):
            started = time.perf_counter()
            action()
            if self.device.type != "cpu":
                torch.accelerator.synchronize()
            taken.append(time.perf_counter() - started)
        return round(median(taken[1:]), 4)

    def transformer(self, facts: MemoryFacts, precision: Precision, seed: int = 0) -> torch.nn.Module:
        """Random weights, made and quantized on the device block by block."""
        facts = self.facts(facts)
        heads = max(1, facts.width // 128) if not self.tiny else 2
        config = {
            "num_attention_heads": heads,
            "attention_head_dim": facts.width // heads,
            "ffn_dim": facts.feed_forward,
            "num_layers": facts.layers,
            **({"in_channels": 48, "out_channels": 48} if facts.expands_timesteps else {}),
        }
        model = skeleton(lambda: WanTransformer3DModel(**config))
        torch.manual_seed(seed)
        for block in blocks_of(model):
            self.fill(block)
            alone = torch.nn.Module()
            alone.blocks = torch.nn.ModuleList([block])
            quantize(alone, precision, DTYPE)
        self.fill(model)
        return model

    def fill(self, module: torch.nn.Module) -> None:
        """What has no memory yet gets it, and random numbers; what lies elsewhere comes to the device."""
        for owner, name, tensor in list(each_tensor(module)):
            if tensor.is_meta:
                put(owner, name, torch.empty(tensor.shape, dtype=DTYPE, device=self.device).normal_(0, 0.02))
            elif tensor.device != self.device and type(tensor) in (torch.Tensor, torch.nn.Parameter):
                put(owner, name, tensor.to(self.device))

    def fp8_compute(self) -> tuple[Precision, ...]:
        """Only where the device can, and its kernels are quick."""
        return (Precision.FP8_COMPUTE,) if computes_fp8(self.device) else ()

    def inputs(self, clip: Geometry, facts: MemoryFacts = WAN_14B) -> dict[str, Any]:
        clip = self.clip(clip)
        scale, channels = (16, 48) if facts.expands_timesteps else (8, 16)
        shape = (1, channels, (clip.num_frames - 1) // 4 + 1, clip.height // scale, clip.width // scale)
        tokens = shape[2] * shape[3] * shape[4] // 4
        return {
            "hidden_states": torch.randn(shape, device=self.device, dtype=DTYPE),
            "timestep": torch.full((1, tokens) if facts.expands_timesteps else (1,), 500, device=self.device),
            "encoder_hidden_states": torch.randn(1, 512, 4096, device=self.device, dtype=DTYPE),
            "return_dict": False,
        }


def to_host(module: torch.nn.Module) -> Streamed:
    """Blocks into pinned slabs, the rest beside them."""
    streamed = Streamed(module)
    streamed.settle(pinned=True)
    move(module, lambda leaf: leaf.cpu() if leaf.device.type != "cpu" else leaf)
    return streamed


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
    """int8, 480p: streamed against resident in one process, the same bits, and the peak."""
    model = bench.transformer(WAN_14B, Precision.INT8)
    streamed, given = to_host(model), bench.inputs(SMALL)
    result: dict[str, Any] = {}
    outputs = []
    for name, resident in (("resident", len(streamed.blocks)), ("streamed", 0)):
        bench.rest()
        with streaming([streamed], bench.device, resident):
            result[f"{name}_seconds"] = bench.seconds(partial(model, **given))
            outputs.append(model(**given)[0].cpu())
        result[f"{name}_peak_gib"] = bench.peak()
    bench.rest()
    with streaming([streamed], bench.device, 0), chunked(model, 8 if bench.tiny else 8192):
        result["chunked_seconds"] = bench.seconds(partial(model, **given))
    result["chunked_peak_gib"] = bench.peak()
    result["identical"] = outputs[0].equal(outputs[1])
    result["ratio"] = round(result["streamed_seconds"] / result["resident_seconds"], 3)
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
    """In bf16: accelerate's model offload (one move, then resident), and diffusers' group offload with a stream."""
    from diffusers.hooks import apply_group_offloading

    model, given = bench.transformer(WAN_14B, Precision.BF16), bench.inputs(SMALL)
    move(model, lambda leaf: leaf.cpu())
    bench.rest()
    started = time.perf_counter()
    model.to(bench.device)
    moved = time.perf_counter() - started
    resident = bench.seconds(partial(model, **given))
    result: dict[str, Any] = {"model_offload_move_seconds": round(moved, 2), "model_offload_seconds": resident}
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


def whole_clip(model_id: str, clip: Geometry, gib: float) -> Callable[[Bench], dict[str, Any]]:
    """Text, a few passes of each expert, and the VAE, by the planner's plan under a cap; forecast beside measured."""

    def case(bench: Bench) -> dict[str, Any]:
        spec = registry.find(model_id)
        plan = make_plan(spec, clip, replace(REFERENCE, vram=gib * GIB), Precision.INT8)
        experts = [to_host(bench.transformer(spec.memory, plan.precision, seed)) for seed in range(spec.memory.experts)]
        text, vae = text_encoder(bench), skeleton(AutoencoderKLWan if not bench.tiny else tiny_vae)
        bench.fill(vae)
        vae.to("cpu", torch.float32 if plan.decode_dtype == "fp32" else DTYPE)
        bench.cap(gib)
        result: dict[str, Any] = {"plan": plan.to_dict(), "cap_gib": gib, "seconds": {}, "measured_gib": {}}
        stages = {
            "text": lambda: read_text(bench, text),
            "denoising": lambda: denoise(bench, experts, clip, plan.resident_blocks, plan.chunk_tokens, result),
            "decoding": lambda: decode(bench, vae, clip, plan.tiled),
        }
        for name, stage in stages.items():
            bench.rest()
            started = time.perf_counter()
            stage()
            result["measured_gib"][name] = bench.peak()
            result["seconds"][name] = round(time.perf_counter() - started, 2)
        result["peak_gib"] = max(result["measured_gib"].values())
        return result

    return case


def denoise(
    bench: Bench, experts: list[Streamed], clip: Geometry, resident: int, chunk: int, result: dict[str, Any]
) -> None:
    given, firsts = bench.inputs(clip), []
    resident = min(resident, len(experts[0].blocks))
    with ExitStack() as stack:
        stack.enter_context(streaming(experts, bench.device, resident))
        for expert in experts:
            stack.enter_context(chunked(expert.module, chunk))
        for expert in experts:
            started = time.perf_counter()
            expert.module(**given)
            if bench.device.type != "cpu":
                torch.accelerator.synchronize()
            firsts.append(time.perf_counter() - started)
            result["pass_seconds"] = bench.seconds(partial(expert.module, **given), 1)
    result["switch_seconds"] = round(firsts[-1] - result["pass_seconds"], 3)


def text_encoder(bench: Bench) -> Streamed:
    sizes = {"d_model": 4096, "d_kv": 64, "d_ff": 10240, "num_layers": 24, "num_heads": 64, "vocab_size": 256384}
    if bench.tiny:
        sizes = {"d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 2, "num_heads": 2, "vocab_size": 100}
    config = UMT5Config(**sizes, feed_forward_proj="gated-gelu")
    encoder = skeleton(lambda: UMT5EncoderModel(config))
    bench.fill(encoder)
    return to_host(encoder)


def read_text(bench: Bench, encoder: Streamed) -> None:
    with streaming([encoder], bench.device):
        read(bench, encoder)


def decode(bench: Bench, module: Any, clip: Geometry, in_tiles: bool) -> None:
    clip = bench.clip(clip)
    latents = torch.randn(1, 16, (clip.num_frames - 1) // 4 + 1, clip.height // 8, clip.width // 8)
    module.to(bench.device)
    with ExitStack() as stack:
        if in_tiles:
            stack.enter_context(tiled(module))
        module.decode(latents.to(bench.device, module.dtype), return_dict=False)


def encode(bench: Bench, module: Any, clip: Geometry, in_tiles: bool) -> None:
    """As for a first image: a clip of nothing but it."""
    clip = bench.clip(clip)
    video = torch.zeros(1, 3, clip.num_frames, clip.height, clip.width, device=bench.device, dtype=module.dtype)
    with ExitStack() as stack:
        if in_tiles:
            stack.enter_context(tiled(module))
        module.encode(video, return_dict=False)


def activations(bench: Bench) -> dict[str, Any]:
    """What a pass takes beside the weights, in GiB, by tokens at a time: of two layers, which is what all take."""
    result: dict[str, Any] = {}
    sizes = {"14b": (WAN_14B, (SMALL, MIDDLE, LARGE)), "1.3b": (WAN_1_3B, (SMALL,)), "5b": (WAN_5B, (BROAD,))}
    for name, (facts, clips) in sizes.items():
        model = bench.transformer(replace(facts, layers=2), Precision.INT8)
        for clip in clips:
            given = bench.inputs(clip, facts)
            for tokens in (0, 16384, 4096):
                bench.rest()
                before = torch.accelerator.memory_allocated() / GIB if bench.device.type != "cpu" else 0.0
                with chunked(model, tokens):
                    seconds = bench.seconds(partial(model, **given), 1)
                key = f"{name}_{clip.width}x{clip.height}_{tokens}"
                result[key] = {"gib": round(bench.peak() - before, 3), "seconds": seconds}
        del model
    return result


def vae(bench: Bench) -> dict[str, Any]:
    """Decoding and encoding, GiB beside the weights and seconds, of a short clip and a longer one."""
    result: dict[str, Any] = {}
    module = skeleton(AutoencoderKLWan if not bench.tiny else tiny_vae)
    bench.fill(module)
    for dtype in (torch.float32, torch.bfloat16):
        module.to(bench.device, dtype)
        for clip, in_tiles, frames in VAE_CASES:
            clip = replace(clip, num_frames=frames)
            for action in (decode, encode):
                bench.rest()
                before = torch.accelerator.memory_allocated() / GIB if bench.device.type != "cpu" else 0.0
                started = time.perf_counter()
                action(bench, module, clip, in_tiles)
                if bench.device.type != "cpu":
                    torch.accelerator.synchronize()
                kind = f"{action.__name__}_{clip.width}x{clip.height}x{frames}_{str(dtype)[6:]}"
                taken = {"gib": round(bench.peak() - before, 3), "seconds": round(time.perf_counter() - started, 2)}
                result[kind + ("_tiled" if in_tiles else "")] = taken
    return result


def text(bench: Bench) -> dict[str, Any]:
    """UMT5-XXL on the device, and streamed to it."""
    encoder, result = text_encoder(bench), {}
    for name, resident in (("resident", len(encoder.blocks)), ("streamed", 0)):
        bench.rest()
        with streaming([encoder], bench.device, resident):
            result[f"{name}_seconds"] = bench.seconds(lambda: read(bench, encoder))
        result[f"{name}_gib"] = bench.peak()
    return result


def read(bench: Bench, encoder: Streamed) -> None:
    encoder.module(torch.ones(1, 512 if not bench.tiny else 8, dtype=torch.long, device=bench.device))


def tiny_vae() -> AutoencoderKLWan:
    return AutoencoderKLWan(base_dim=4, z_dim=16, dim_mult=[1, 1, 1, 1], num_res_blocks=1)


CASES: dict[str, Callable[[Bench], dict[str, Any]]] = {
    "rates": rates,
    "streaming_14b": streaming_14b,
    "int8_1.3b": quantized(WAN_1_3B),
    "int8_14b": quantized(WAN_14B),
    "best_14b": best,
    "stock_offload_14b": stock_offload,
    "activations": activations,
    "vae": vae,
    "text": text,
    "clip_14b_720p": whole_clip("wan2.1-t2v-14b", MIDDLE, 7.2),
    "clip_14b_1088p": whole_clip("wan2.1-t2v-14b", LARGE, 10.8),
    "clip_a14b_480p": whole_clip("wan2.2-t2v-a14b", SMALL, 7.2),
}
ROWS = (
    ("14B int8, 832x480x81, streamed / resident pass", "streaming_14b", "ratio", "1.03", "1.00"),
    ("the same, peak reserved, GiB", "streaming_14b", "streamed_peak_gib", "5.5", "4.5"),
    ("the same, a part of the tokens at a time, GiB", "streaming_14b", "chunked_peak_gib", "5.5", "4.5"),
    ("14B int8, 1280x720x81, whole clip, GiB", "clip_14b_720p", "peak_gib", "7.2", "6.0"),
    ("14B int8, 1920x1088x81, whole clip, GiB", "clip_14b_1088p", "peak_gib", "10.8", "10"),
    ("A14B, both experts, 832x480x81, GiB", "clip_a14b_480p", "peak_gib", "7.2", "7.2"),
    ("the same, switch of experts, s", "clip_a14b_480p", "switch_seconds", "10", "3"),
    ("int8 / bf16 pass, 1.3B", "int8_1.3b", "ratio", "1.05", "1.00"),
    ("int8 / bf16 pass, 14B", "int8_14b", "ratio", "1.05", "1.00"),
    ("best / stock bf16 pass, 14B", "best_14b", "ratio", "0.80", "0.65"),
    ("streamed output is resident output", "streaming_14b", "identical", "True", "True"),
)


def table(results: dict[str, Any]) -> str:
    """Markdown: what must be, and what was measured; then every number."""
    lines = ["| case | measured | must | aim |", "|---|---|---|---|"]
    for title, case, key, must, aim in ROWS:
        measured = results.get(case, {}).get(key, "not run")
        lines.append(f"| {title} | {measured} | {must} | {aim} |")
    for name, result in results.items():
        lines += ["", f"**{name}**", "", "```json", json.dumps(result, indent=1), "```"]
    return "\n".join(lines) + "\n"


def run_case(name: str, tiny: bool, rounds: int) -> dict[str, Any]:
    started = time.perf_counter()
    bench = Bench(tiny, rounds)
    with torch.inference_mode():
        result = CASES[name](bench)
    device = torch.cuda.get_device_name() if bench.device.type == "cuda" else bench.device.type
    return {**result, "device": device, "torch": torch.__version__, "took": round(time.perf_counter() - started, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", choices=[*CASES, "all", []], default=[])
    parser.add_argument("--output", type=Path, required=True, help="JSON of all cases so far")
    parser.add_argument("--table", type=Path, help="Markdown")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tiny", action="store_true", help="models of three layers, to try the program itself")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)  # this program as its own child
    options = parser.parse_args()
    if options.inside:
        print(json.dumps(run_case(options.cases[0], options.tiny, options.rounds)))
        return
    results = json.loads(options.output.read_text("utf-8")) if options.output.is_file() else {}
    wanted = list(CASES) if "all" in options.cases else options.cases
    for name in wanted:
        if "error" in results.get(name, {"error": "not run"}):
            results[name] = in_a_process(name, options)
            options.output.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    if options.table:
        options.table.write_text(table(results), encoding="utf-8")
    print(table(results))


def in_a_process(name: str, options: argparse.Namespace) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.gpu", "--inside", name, "--rounds", str(options.rounds)]
    command += ["--output", str(options.output), *(["--tiny"] if options.tiny else [])]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        return {"error": "\n".join(ended.stderr.strip().splitlines()[-4:])}
    result: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return result


if __name__ == "__main__":
    main()
