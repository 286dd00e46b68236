"""What LoRAs cost a pass of the 14B transformer: beside the weights and merged, resident, streamed and compiled; and
what it costs to switch them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import torch
import torch._dynamo.utils
from safetensors.torch import save_file

from benchmarks.gpu.bench import DTYPE, Bench, to_host
from benchmarks.gpu.eight_bits import BLOCKS
from wan_pipeline.engine.loading.loaded import guards_on_hooks
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
    """All blocks, and what it costs to switch them."""
    model = bench.transformer(WAN_14B, Precision.INT8)
    adapter = write_lora(model, bench)
    return passes_with(bench, model, adapter) | switching(bench, model, adapter)


def loras_8_blocks(bench: Bench) -> dict[str, Any]:
    """Eight of the forty blocks, in a fifth of the time."""
    model = bench.transformer(replace(WAN_14B, layers=BLOCKS), Precision.INT8)
    return passes_with(bench, model, write_lora(model, bench))


def passes_with(bench: Bench, model: torch.nn.Module, adapter: Adapter) -> dict[str, Any]:
    """int8, 480p, fused as plans do: passes with 0, 1 and 3 LoRAs of rank 64 on all linear layers of the blocks."""
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
                    chunked(model, part, fused=True),
                ):
                    result[f"{key}_seconds"] = bench.seconds(partial(model, **given))
                    outputs[key] = model(**given)[0].cpu()
                result[f"{key}_peak_gib"] = bench.peak()
    result["identical"] = outputs["resident_1_merged"].equal(outputs["streamed_1_merged"])
    result["removed"] = outputs["resident"].equal(outputs["streamed"])
    for name in ("resident", "streamed"):
        for key in ("1_merged", "1_beside", "3_merged", "3_beside"):
            result[f"{name}_{key}_ratio"] = round(result[f"{name}_{key}_seconds"] / result[f"{name}_seconds"], 3)
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


def loras_compiled_14b(bench: Bench) -> dict[str, Any]:
    """int8, 480p, whole blocks compiled, resident and streamed: passes with 0, 1 and 3 LoRAs; and other files of the
    same shape for them, with the number of graphs that torch compiles then.

    On a CPU the blocks are traced, not compiled: the same code, whose seconds say nothing.
    """
    model = bench.transformer(WAN_14B, Precision.INT8)
    files = [write_lora(model, bench, f"rank64_{seed}", seed) for seed in range(2)]
    streamed, run = to_host(model), partial(model, **bench.inputs(CLIP))
    result: dict[str, Any] = {}
    outputs: dict[str, torch.Tensor] = {}
    for name, resident in (("resident", len(streamed.blocks)), ("streamed", 0)):
        first, second = (read_weights(file, home_of(bench, name)) for file in files)
        sets = {f"{name}_{count}": [first] * count for count in (0, *COUNTS)}
        for key, layers in {
            **sets,
            f"{name}_switch": [second] * COUNTS[-1],
            f"{name}_again": sets[name + "_1"],
        }.items():
            bench.rest()
            started, graphs = time.perf_counter(), _compiled_graphs()
            with (
                guards_on_hooks(),
                applied(model, layers, merged=True),
                streaming([streamed], bench.device, resident),
                _compiled(model, "eager" if bench.device.type == "cpu" else "inductor"),
            ):
                outputs[key] = run()[0].cpu()
                bench.wait()
                result[f"{key}_first_seconds"] = round(time.perf_counter() - started, 2)
                result[f"{key}_seconds"] = bench.seconds(run)
            result[f"{key}_graphs"] = _compiled_graphs() - graphs
            result[f"{key}_peak_gib"] = bench.peak()
        for count in COUNTS:
            result[f"{name}_{count}_ratio"] = round(result[f"{name}_{count}_seconds"] / result[f"{name}_0_seconds"], 3)
        result[f"{name}_returned"] = outputs[f"{name}_again"].equal(outputs[f"{name}_1"])
        result[f"{name}_switched"] = not outputs[f"{name}_switch"].equal(outputs[f"{name}_{COUNTS[-1]}"])
    result["switch_graphs"] = sum(
        result[f"{name}_{key}_graphs"] for name in ("resident", "streamed") for key in ("switch", "again")
    )
    return result


@contextmanager
def _compiled(model: torch.nn.Module, backend: str) -> Iterator[None]:
    """Each block as a whole, as the engine does it."""
    for block in blocks_of(model):
        block.forward = torch.compile(block.forward, backend=backend)
    try:
        yield
    finally:
        for block in blocks_of(model):
            block.__dict__.pop("forward")


def _compiled_graphs() -> int:
    """How many graphs torch has compiled in this process."""
    return int(torch._dynamo.utils.counters["stats"]["unique_graphs"])


def home_of(bench: Bench, residency: str) -> AdapterHome:
    """Where the engine keeps adapters for a plan."""
    on_device = residency == "resident" or bench.device.type == "cpu"
    return AdapterHome(bench.device if on_device else torch.device("cpu"), DTYPE)


def write_lora(model: torch.nn.Module, bench: Bench, file: str = "rank64", seed: int = 0) -> Adapter:
    """A file with a pair for each linear layer of the blocks, and the adapter of it."""
    torch.manual_seed(seed)
    path = bench.folder / f"{file}.safetensors"
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
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path)
    return Adapter(path, 1.0, tuple(changes), keys=len(tensors))
