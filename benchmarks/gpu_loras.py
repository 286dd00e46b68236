"""What LoRAs cost a pass of the 14B transformer: beside the weights and merged, resident and streamed; and a switch."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from safetensors.torch import save_file

from benchmarks.gpu_bench import DTYPE, Bench, to_host
from wan_pipeline.engine.lora.adapters import AdapterHome, applied, read_weights
from wan_pipeline.engine.memory.block_streaming import streaming
from wan_pipeline.engine.memory.chunked_forward import chunked
from wan_pipeline.engine.memory.inner_tensors import blocks_of
from wan_pipeline.lora.adapter import Adapter
from wan_pipeline.lora.changes import Change, Kind
from wan_pipeline.lora.reading.header import read_lora_header
from wan_pipeline.lora.reading.keys import Role
from wan_pipeline.lora.reading.values import ValueReader
from wan_pipeline.models.memory import WAN_14B
from wan_pipeline.models.precision import Precision
from wan_pipeline.planning.geometry import Geometry
from wan_pipeline.planning.transformer import chunk_tokens

RANK = 64
CLIP = Geometry(832, 480, 81, 1)
COUNTS = (1, 3)


def loras_14b(bench: Bench) -> dict[str, Any]:
    """int8, 480p, chunked as plans do: passes with 0, 1 and 3 LoRAs of rank 64 on all linear layers of the blocks."""
    model = bench.transformer(WAN_14B, Precision.INT8)
    adapter = write_lora(model, bench)
    streamed, given = to_host(model), bench.inputs(CLIP)
    part = chunk_tokens(WAN_14B, 64 if bench.tiny else 32760)
    result: dict[str, Any] = {}
    outputs: dict[str, torch.Tensor] = {}
    for name, resident in (("resident", len(streamed.blocks)), ("streamed", 0)):
        layers = read_weights(adapter, home_of(bench, name))
        for count in (0, *COUNTS):
            for way in ("merged", "beside") if count else ("merged",):
                key = f"{name}_{count}_{way}" if count else name
                bench.rest()
                with (
                    applied(model, [layers] * count, merged=way == "merged"),
                    streaming([streamed], bench.device, resident),
                    chunked(model, part),
                ):
                    result[f"{key}_seconds"] = bench.seconds(partial(model, **given))
                    outputs[key] = model(**given)[0].cpu()
                result[f"{key}_peak_gib"] = bench.peak()
    result["identical"] = outputs["resident_1_merged"].equal(outputs["streamed_1_merged"])
    result["removed"] = outputs["resident"].equal(outputs["streamed"])
    for name in ("resident", "streamed"):
        for key in ("1_merged", "1_beside", "3_merged", "3_beside"):
            result[f"{name}_{key}_ratio"] = round(result[f"{name}_{key}_seconds"] / result[f"{name}_seconds"], 3)
    result |= switching(bench, model, adapter)
    if bench.device.type == "cuda":
        with streaming([streamed], bench.device, len(streamed.blocks)):
            result |= compiled(bench, model, partial(model, **given), adapter)
    return result


def switching(bench: Bench, model: torch.nn.Module, adapter: Adapter) -> dict[str, float]:
    """Seconds to look at a file's numbers, once for each file, and to read and apply it for a clip."""
    started = time.perf_counter()
    ValueReader().read(adapter.path, read_lora_header(adapter.path))
    checked = time.perf_counter()
    with applied(model, [read_weights(adapter, home_of(bench, "resident"))], merged=True):
        bench.wait()
    return {
        "check_seconds": round(checked - started, 2),
        "switch_seconds": round(time.perf_counter() - checked, 2),
        "lora_gib": round(adapter.path.stat().st_size / 2**30, 2),
    }


def compiled(bench: Bench, model: torch.nn.Module, run: Callable[[], Any], adapter: Adapter) -> dict[str, float]:
    """Whole blocks compiled, with and without one LoRA."""
    result, layers = dict[str, float](), read_weights(adapter, home_of(bench, "resident"))
    for name, adapters in (("compiled", []), ("compiled_lora", [layers])):
        with applied(model, adapters, merged=True):
            for block in blocks_of(model):
                block.forward = torch.compile(block.forward)
            started = time.perf_counter()
            run()
            bench.wait()
            result[f"{name}_compiling_seconds"] = round(time.perf_counter() - started, 1)
            result[f"{name}_seconds"] = bench.seconds(run)
            for block in blocks_of(model):
                block.__dict__.pop("forward")
    result["compiled_ratio"] = round(result["compiled_lora_seconds"] / result["compiled_seconds"], 3)
    return result


def home_of(bench: Bench, residency: str) -> AdapterHome:
    """Where the engine keeps adapters for a plan."""
    on_device = residency == "resident" or bench.device.type == "cpu"
    return AdapterHome(bench.device if on_device else torch.device("cpu"), DTYPE, pinned=not on_device)


def write_lora(model: torch.nn.Module, bench: Bench) -> Adapter:
    """A file with a pair for each linear layer of the blocks, and the adapter of it."""
    tensors: dict[str, torch.Tensor] = {}
    changes = []
    for name, module in model.named_modules():
        if not name.startswith("blocks.") or not isinstance(module, torch.nn.Linear):
            continue
        outputs, inputs = module.weight.shape
        keys = {Role.DOWN: f"{name}.lora_A.weight", Role.UP: f"{name}.lora_B.weight"}
        tensors[keys[Role.DOWN]] = torch.randn(RANK, inputs, dtype=DTYPE) * inputs**-0.5
        tensors[keys[Role.UP]] = torch.randn(outputs, RANK, dtype=DTYPE) * 0.01
        changes.append(Change(Kind.LORA, name, (outputs, inputs), keys, RANK))
    path = bench.folder / "rank64.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path)
    return Adapter(path, 1.0, tuple(changes), keys=len(tensors))
