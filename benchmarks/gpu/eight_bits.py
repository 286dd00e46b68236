"""Computing in 8 bits at the 14B model's shapes: int8 and fp8 products, SageAttention, and what they change."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import linear, scaled_dot_product_attention

from benchmarks.gpu.bench import DTYPE, Bench, to_host
from wan_pipeline.engine.attention.backends import set_attention
from wan_pipeline.engine.attention.sage import sage_attention, sage_version
from wan_pipeline.engine.engine import Engine
from wan_pipeline.engine.memory.block_streaming import streaming
from wan_pipeline.engine.memory.chunked_forward import chunked
from wan_pipeline.engine.memory.inner_tensors import blocks_of
from wan_pipeline.engine.memory.quantized_layers import Int8Linear, dequantized
from wan_pipeline.models import registry
from wan_pipeline.models.memory import WAN_14B
from wan_pipeline.models.precision import Precision
from wan_pipeline.planning.attention import Attention
from wan_pipeline.planning.geometry import Geometry
from wan_pipeline.planning.transformer import chunk_tokens
from wan_pipeline.progress import Progress
from wan_pipeline.requests.own_clip import own_request
from wan_pipeline.settings import Settings

BLOCKS = 8
"""Of the 14B model's forty: a pass of all takes five times as long."""
TOKENS = (2048, 8192, 32760, 75600)
"""Of which the last two are 81 frames at 832x480 and 1280x720."""
BACKENDS = {
    "native": None,
    "cudnn": SDPBackend.CUDNN_ATTENTION,
    "flash": SDPBackend.FLASH_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
}
DEMO_PLANS = ("int8", "int8-compute", "fp8", "fp8-compute", "bf16,compiled", "int8-compute,compiled")
FUSED = "chunk=720,fused"
PROMPT = "a red balloon flies up over green hills"


def eight_bits(clip: Geometry) -> Callable[[Bench], dict[str, Any]]:
    """Passes of some blocks with int8 and fp8 products, against the stock bf16 pass of the same process."""

    def case(bench: Bench) -> dict[str, Any]:
        facts, given = replace(WAN_14B, layers=BLOCKS), bench.inputs(clip)
        part = chunk_tokens(WAN_14B, 64 if bench.tiny else clip.tokens(registry.find("wan2.1-t2v-14b")))
        result: dict[str, Any] = {}
        exact = None
        for precision in (Precision.BF16, *bench.computing_in_8_bits()):
            model = bench.transformer(facts, precision)
            result |= _resident(bench, model, given, precision)
            output = model(**given)[0].float()
            exact = output if exact is None else exact
            result[f"{precision}_error"] = round(float((output - exact).norm() / exact.norm()), 5)
            if precision is Precision.INT8_COMPUTE:
                result["layer_errors"] = layer_errors(model, given)
                result |= _streamed(bench, model, given, part)
            del model
            bench.rest()
        return result | _ratios(result)

    return case


def _resident(bench: Bench, model: Any, given: dict[str, Any], precision: Precision) -> dict[str, Any]:
    """Seconds with the stock forward, plain and compiled, with exact attention and with SageAttention."""
    result: dict[str, Any] = {}
    for attention in attentions(bench):
        set_attention(model, attention, "native")
        name = f"{precision}{'_sage' if attention else ''}"
        result[f"{name}_seconds"] = bench.seconds(partial(model, **given))
        with _compiled(model, bench.tiny):
            result[f"{name}_compiled_seconds"] = bench.seconds(partial(model, **given))
    set_attention(model, Attention.FASTEST, "native")
    return result


def _streamed(bench: Bench, model: Any, given: dict[str, Any], part: int) -> dict[str, Any]:
    """Chunked as plans do: resident and streamed, with pointwise operations compiled and not."""
    streamed, result = to_host(model), dict[str, Any]()
    for attention in attentions(bench):
        set_attention(model, attention, "native")
        outputs = []
        for name, resident in (("chunked", len(streamed.blocks)), ("streamed", 0)):
            for compiled in (False,) if bench.tiny else (False, True):
                key = f"int8-compute{'_sage' if attention else ''}_{name}{'_compiled' if compiled else ''}"
                bench.rest()
                with streaming([streamed], bench.device, resident), chunked(model, part, compiled=compiled):
                    result[f"{key}_seconds"] = bench.seconds(partial(model, **given))
                    outputs += [] if compiled else [model(**given)[0].cpu()]
                result[f"{key}_peak_gib"] = bench.peak()
        if not bench.tiny:
            key = f"int8-compute{'_sage' if attention else ''}_streamed_whole_compiled"
            bench.rest()
            with streaming([streamed], bench.device, 0), _compiled(model, bench.tiny):
                result[f"{key}_seconds"] = bench.seconds(partial(model, **given))
            result[f"{key}_peak_gib"] = bench.peak()
        result[f"identical{'_sage' if attention else ''}"] = outputs[0].equal(outputs[1])
    return result


def attentions(bench: Bench) -> tuple[Attention, ...]:
    has_sage = bench.device.type == "cuda" and sage_version() is not None
    return (Attention.FASTEST, Attention.SAGE) if has_sage else (Attention.FASTEST,)


@contextmanager
def _compiled(model: Any, tiny: bool) -> Iterator[None]:
    for block in blocks_of(model):
        block.forward = torch.compile(block.forward, backend="eager" if tiny else "inductor")
    try:
        yield
    finally:
        for block in blocks_of(model):
            block.__dict__.pop("forward", None)


def _ratios(result: dict[str, Any]) -> dict[str, float]:
    """Each time over that of the stock bf16 pass, and streamed over resident by the same forward."""
    stock = result["bf16_seconds"]
    ratios = {f"{name[:-8]}_ratio": value / stock for name, value in result.items() if name.endswith("_seconds")}
    for more in ("", "_compiled"):
        if f"int8-compute_streamed{more}_seconds" in result:
            times = [result[f"int8-compute_{where}{more}_seconds"] for where in ("streamed", "chunked")]
            ratios[f"streamed{more}_over_resident"] = times[0] / times[1]
    ratios["best_ratio"] = min(value for name, value in ratios.items() if name.endswith("_ratio"))
    return {name: round(value, 3) for name, value in ratios.items()}


def layer_errors(model: Any, given: dict[str, Any]) -> dict[str, float]:
    """What rounding the activations changes in each layer of the first block, relative to the layer's output."""
    errors: dict[str, float] = {}
    hooks = []
    for name, layer in blocks_of(model)[0].named_modules():
        if isinstance(layer, Int8Linear):

            def compare(layer: Any, inputs: tuple[torch.Tensor, ...], output: torch.Tensor, name: str = name) -> None:
                rows, made = inputs[0][:, :2048], output[:, :2048].float()
                wanted = linear(rows, dequantized(layer.weight), layer.bias).float()
                errors[name] = round(float((made - wanted).norm() / wanted.norm()), 5)

            hooks.append(layer.register_forward_hook(compare))
    try:
        model(**given)
    finally:
        for hook in hooks:
            hook.remove()
    return errors


def attention(bench: Bench) -> dict[str, Any]:
    """Self-attention of 40 heads of 128 channels by each backend: TOPS, and the error of those that are not exact."""
    result: dict[str, Any] = {"sageattention": sage_version()}
    for tokens in (64,) if bench.tiny else TOKENS:
        shape = (1, tokens, 2 if bench.tiny else 40, 128)
        query, key, value = (torch.randn(shape, device=bench.device, dtype=DTYPE) for _ in range(3))
        by_head = [tensor.transpose(1, 2) for tensor in (query, key, value)]
        operations = 4e-12 * shape[1] ** 2 * shape[2] * shape[3]
        for name, backend in BACKENDS.items():
            with suppress(RuntimeError), sdpa_kernel(backend) if backend else nullcontext():
                seconds = bench.seconds(lambda by_head=by_head: scaled_dot_product_attention(*by_head), 3)
                result[f"{name}_{tokens}_tops"] = round(operations / seconds, 1)
        if Attention.SAGE in attentions(bench):
            wanted = scaled_dot_product_attention(*by_head).transpose(1, 2).float()
            made = sage_attention(query, key, value).float()
            result[f"sage_{tokens}_error"] = round(float((made - wanted).norm() / wanted.norm()), 4)
            del wanted, made
            seconds = bench.seconds(partial(sage_attention, query, key, value), 3)
            result[f"sage_{tokens}_tops"] = round(operations / seconds, 1)
        del query, key, value, by_head
        bench.rest()
    return result


def demo_clips(bench: Bench) -> dict[str, Any]:
    """PSNR of clips of the trained demo model, at its own settings, to the clip in the device's own precision."""
    settings = Settings(workspace=bench.folder / "demo" / "workspace")
    settings.make_folders()
    changes = {"width": 96, "height": 64, "num_frames": 5, "num_inference_steps": 2} if bench.tiny else {}
    request = replace(own_request(registry.find("demo")), styled_prompt=PROMPT, seed=1, **changes)
    native = "fp32" if bench.device.type == "cpu" else "bf16"
    result: dict[str, Any] = {"size": [request.width, request.height, request.num_frames]}
    plans = [plan for plan in DEMO_PLANS if not bench.tiny or "compiled" not in plan]
    plans += [f"{precision},{FUSED}" for precision in (native, "int8", "int8-compute") if native != "fp32"]
    if Attention.SAGE in attentions(bench):
        plans += [f"{native},attention=sage", "int8-compute,attention=sage", "int8-compute,compiled,attention=sage"]
        plans.append(f"int8-compute,{FUSED},attention=sage")
    with Engine(settings) as engine:
        wanted = engine.render(request, _Silent(), plan=f"resident,{native}").frames
        for plan in plans:
            made = engine.render(request, _Silent(), plan=f"resident,{plan}").frames
            result[f"{plan}_psnr_db"] = round(_psnr(made, wanted), 1)
    return result


class _Silent:
    def progress(self, progress: Progress) -> None:
        pass

    def cancelled(self) -> bool:
        return False


def _psnr(frames: Any, others: Any) -> float:
    error = float(np.square(frames.astype(np.float64) - others).mean())
    return float(10 * np.log10(255**2 / error)) if error else 99.0
