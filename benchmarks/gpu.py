"""Speed and memory at the real shapes, with random weights made on the fly: one JSON, one table.

    python -m benchmarks.gpu --output gpu.json rates clip_14b_720p  # some cases; each in a process of its own
    python -m benchmarks.gpu --output gpu.json --table docs/gpu.md  # no case: only the table of what is there
    python -m benchmarks.gpu --tiny --output /tmp/tiny.json all     # the same code on a CPU, on models of two layers

Times are medians of passes of the transformer (half a step with
guidance), memory is the peak that torch's allocator had reserved.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from benchmarks.cases import Program
from benchmarks.gpu_bench import DTYPE, Bench, text_module, to_host, vae_2_1, vae_2_2
from benchmarks.gpu_eight_bits import attention, demo_clips, eight_bits
from benchmarks.gpu_loras import loras_14b, loras_compiled_14b
from benchmarks.gpu_model import write_model
from benchmarks.gpu_table import table
from wan_pipeline.engine.decoding.decode import decode as decode_frames
from wan_pipeline.engine.device.probe import probe
from wan_pipeline.engine.engine import Engine
from wan_pipeline.engine.memory.block_streaming import StreamedModel, streaming
from wan_pipeline.engine.memory.chunked_forward import chunked
from wan_pipeline.engine.memory.inner_tensors import blocks_of, map_tensors
from wan_pipeline.engine.memory.offload import tiled_encode
from wan_pipeline.engine.memory.quantize import skeleton
from wan_pipeline.lora.library import LoraLibrary
from wan_pipeline.models import registry
from wan_pipeline.models.memory import WAN_1_3B, WAN_5B, WAN_14B, MemoryFacts
from wan_pipeline.models.precision import Precision
from wan_pipeline.models.spec import Mode
from wan_pipeline.planning.geometry import Geometry
from wan_pipeline.planning.machine import GIB
from wan_pipeline.planning.planner import Planner
from wan_pipeline.planning.transformer import chunk_tokens
from wan_pipeline.progress import Progress, Stage
from wan_pipeline.requests.request import GenerationRequest
from wan_pipeline.requests.sampling.scheduler import SchedulerName
from wan_pipeline.settings import Settings

SMALL, MIDDLE, LARGE = (Geometry(*size, 81, 1) for size in ((832, 480), (1280, 720), (1920, 1088)))
BROAD = Geometry(1280, 704, 121, 1)
VAE_CASES = {
    "wan2.1": ((SMALL, 0), (MIDDLE, 0), (MIDDLE, 512), (MIDDLE, 384), (MIDDLE, 256)),
    "wan2.2": ((BROAD, 0), (BROAD, 256)),
}
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
    """int8, 480p, chunked as plans do: streamed against resident in one process, the same bits, the peaks."""
    model = bench.transformer(WAN_14B, Precision.INT8)
    streamed, given = to_host(model), bench.inputs(SMALL)
    part = chunk_tokens(WAN_14B, 64 if bench.tiny else 32760)
    result: dict[str, Any] = {}
    outputs = []
    for name, resident, chunk in (
        ("resident", len(streamed.blocks), part),
        ("streamed", 0, part),
        ("resident_whole", len(streamed.blocks), 0),
        ("streamed_whole", 0, 0),
    ):
        bench.rest()
        with streaming([streamed], bench.device, resident), chunked(model, chunk):
            result[f"{name}_seconds"] = bench.seconds(partial(model, **given))
            outputs.append(model(**given)[0].cpu())
        result[f"{name}_peak_gib"] = bench.peak()
    if bench.device.type == "cuda":
        bench.rest()
        with streaming([streamed], bench.device, 0), chunked(model, part, compiled=True):
            result["streamed_compiled_seconds"] = bench.seconds(partial(model, **given))
        result["streamed_compiled_peak_gib"] = bench.peak()
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
    bench.rest()
    with streaming([streamed], bench.device, 0), chunked(model, chunk_tokens(WAN_14B, 64 if bench.tiny else 32760)):
        result["streamed_seconds"] = bench.seconds(partial(model, **given))
    result["streamed_peak_gib"] = bench.peak()
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


def whole_clip(
    model_id: str, clip: Geometry, gib: float, steps: int, guidance: float
) -> Callable[[Bench], dict[str, Any]]:
    """A clip through the engine, from weights on the disk to frames, under a cap; the forecast beside it."""

    def case(bench: Bench) -> dict[str, Any]:
        spec, folder = registry.find(model_id), bench.folder / model_id
        settings = Settings(workspace=folder / "workspace", models=folder, memory_limit=gib)
        if not (folder / model_id).is_dir():
            settings.make_folders()
            write_model(bench, settings, spec)
        bench.rest()
        request = clip_request(bench, model_id, clip, steps, guidance)
        planner = Planner(settings, LoraLibrary(settings.loras))
        forecast = planner.choose(request, spec, probe(bench.device, settings.cache).machine)
        watch = Watch(bench)
        with Engine(settings) as engine:
            rendered = engine.render(request, watch)
        measured, peak = max(watch.peaks.values()), forecast.peak_vram / GIB
        pass_seconds = min(watch.steps[1:] or watch.steps) / (2 if request.uses_guidance else 1)
        return {
            "plan": rendered.provenance.plan,
            "cap_gib": gib,
            "peak_gib": measured,
            "forecast_gib": round(peak, 2),
            "forecast_error": round(peak / measured - 1, 3) if measured else None,
            "stage_peaks_gib": watch.peaks,
            "stage_forecasts_gib": {stage: round(cost.vram / GIB, 2) for stage, cost in forecast.costs.items()},
            "seconds": {stage: round(taken, 2) for stage, taken in rendered.seconds.items()},
            "forecast_seconds": {stage: round(cost.seconds, 2) for stage, cost in forecast.costs.items()},
            "step_seconds": watch.steps,
            "pass_seconds": round(pass_seconds, 3),
            "switch_seconds": round(max(watch.steps[1:] or watch.steps) - min(watch.steps[1:] or watch.steps), 2),
            "frames": list(rendered.frames.shape),
        }

    return case


class Watch:
    """How long each step took, and the device's peak in each stage, GiB."""

    def __init__(self, bench: Bench) -> None:
        self.steps: list[float] = []
        self.peaks: dict[str, float] = {"none": 0.0}
        self._bench = bench
        self._at, self._stage = time.perf_counter(), Stage.QUEUED

    def progress(self, progress: Progress) -> None:
        self._bench.wait()
        self.peaks[self._stage.value] = self._bench.peak()
        if progress.stage is not self._stage and self._bench.device.type != "cpu":
            torch.accelerator.empty_cache()
            torch.accelerator.reset_peak_memory_stats()
        now = time.perf_counter()
        if progress.stage is Stage.DENOISING and progress.step:
            self.steps.append(round(now - self._at, 3))
        self._at, self._stage = now, progress.stage
        self.peaks[self._stage.value] = max(self.peaks.get(self._stage.value, 0.0), self._bench.peak())

    def cancelled(self) -> bool:
        return False


def clip_request(bench: Bench, model_id: str, clip: Geometry, steps: int, guidance: float) -> GenerationRequest:
    spec, size, prompt = registry.find(model_id), bench.clip(clip), "a boat on the sea"
    return GenerationRequest(
        model=model_id,
        mode=Mode.TEXT_TO_VIDEO,
        prompt=prompt,
        styled_prompt=prompt,
        negative_prompt="blurry",
        seed=1,
        width=size.width,
        height=size.height,
        num_frames=size.num_frames,
        fps=16,
        num_inference_steps=steps,
        guidance_scale=guidance,
        guidance_scale_2=guidance if spec.guidance_scale_2 is not None else None,
        flow_shift=3.0,
        scheduler=SchedulerName.UNIPC,
        quantization=Precision.INT8.value,
    )


def activations(bench: Bench) -> dict[str, Any]:
    """Peak activations of a pass in GiB, by stock and by chunked forward, with two layers; more take no more."""
    result: dict[str, Any] = {}
    sizes = {"14b": (WAN_14B, (SMALL, MIDDLE, LARGE)), "1.3b": (WAN_1_3B, (SMALL,)), "5b": (WAN_5B, (BROAD,))}
    for name, (facts, clips) in sizes.items():
        model = bench.transformer(replace(facts, layers=2), Precision.INT8)
        for clip in clips:
            given = bench.inputs(clip, facts)
            scale = 32 if facts.expands_timesteps else 16
            count = ((clip.num_frames - 1) // 4 + 1) * (clip.height // scale) * (clip.width // scale)
            for kind, part in (("whole", 0), ("parts", chunk_tokens(facts, count))):
                bench.rest()
                before = bench.allocated()
                with chunked(model, part):
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


CASES: dict[str, Callable[[Bench], dict[str, Any]]] = {
    "rates": rates,
    "streaming_14b": streaming_14b,
    "int8_1.3b": quantized(WAN_1_3B),
    "int8_14b": quantized(WAN_14B),
    "best_14b": best,
    "eight_bits_480p": eight_bits(SMALL),
    "eight_bits_720p": eight_bits(MIDDLE),
    "attention": attention,
    "demo_clips": demo_clips,
    "loras_14b": loras_14b,
    "loras_compiled_14b": loras_compiled_14b,
    "stock_offload_14b": stock_offload,
    "activations": activations,
    "vae": vae,
    "text": text,
    "clip_14b_480p": whole_clip("wan2.1-t2v-14b", SMALL, 7.2, 3, 5.0),
    "clip_14b_720p": whole_clip("wan2.1-t2v-14b", MIDDLE, 7.2, 2, 5.0),
    "clip_14b_1088p": whole_clip("wan2.1-t2v-14b", LARGE, 10.8, 1, 1.0),
    "clip_a14b_480p": whole_clip("wan2.2-t2v-a14b", SMALL, 7.2, 4, 4.0),
}


PROGRAM = Program("benchmarks.gpu", __doc__.splitlines()[0], CASES, table, rounds=3, within=torch.inference_mode)

if __name__ == "__main__":
    PROGRAM.main()
