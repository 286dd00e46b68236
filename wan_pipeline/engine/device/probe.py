"""Probes the device: its free memory each time, its speeds once."""

from __future__ import annotations

import json
import logging
import platform
from contextlib import nullcontext
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import psutil
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from wan_pipeline.engine.attention.backends import TORCH_BACKENDS
from wan_pipeline.engine.attention.measured import measure_sage
from wan_pipeline.engine.attention.sage import package_version, sage_version
from wan_pipeline.engine.device.timing import measured_or, seconds_of
from wan_pipeline.engine.fused.measured import measure_fused
from wan_pipeline.engine.int8.product import computes_int8, int8_linear
from wan_pipeline.planning.hardware import Hardware, Speeds
from wan_pipeline.storage.files import whole_file
from wan_pipeline.storage.locks import only_writer
from wan_pipeline.storage.outside import OutsideDataError, parse, read_json_file

MIN_SPEEDUP = 1.05
"""A backend must be this much faster than torch's own choice to replace it."""
TOKENS, HEADS, WIDTH = 16384, 12, 128

logger = logging.getLogger(__name__)


def probe(device: torch.device, cache: Path | None = None) -> Hardware:
    """The device and its free memory. A GPU that is lost or does not answer has none.

    With a `cache` folder also its speeds, which are measured once, in some seconds, and read from there afterwards.
    """
    memory = psutil.virtual_memory()
    if device.type == "cpu":
        name = platform.processor() or platform.machine()
        return Hardware("cpu", name, 0, 0, memory.total, memory.available)
    free, total = _device_memory(device.type, memory.available, memory.total)
    hardware = Hardware(device.type, _name(device.type), total, free, memory.total, memory.available)
    return replace(hardware, speeds=_speeds(hardware.name, device, cache)) if cache and free else hardware


def measure(device: torch.device) -> Speeds | None:
    """Rates of matrix products and attention in bf16 at the sizes of video, and of copies from pinned memory.

    None if the device cannot compute attention at these sizes.
    """
    rows, weight = (torch.randn(size, 4096, device=device, dtype=torch.bfloat16) for size in (8192, 4096))
    matmul = 2.0 * 8192 * 4096 * 4096 / seconds_of(lambda: rows @ weight.T)
    native = _attention_rate(device)
    if not native:
        return None
    rates = {"native": native * MIN_SPEEDUP}
    rates |= {name: _attention_rate(device, backend) for name, backend in TORCH_BACKENDS.items()}
    fastest = max(rates, key=lambda name: rates[name])
    exact = max(native, rates[fastest])
    host = torch.empty(2**28, dtype=torch.uint8, pin_memory=device.type in ("cuda", "xpu"))
    copy = 2**28 / seconds_of(lambda: host.to(device, non_blocking=True))
    sage = measure_sage(device, TORCH_BACKENDS.get(fastest))
    return Speeds(matmul, exact, copy, fastest, _int8_rate(device), sage, measure_fused(device))


def _int8_rate(device: torch.device) -> float:
    """Operations a second of int8 products, with rounding their input; 0 if the device has none that work."""
    return measured_or(0.0, "Computing in int8", lambda: _int8_products(device)) if computes_int8(device) else 0.0


def _int8_products(device: torch.device) -> float:
    rows = torch.randn(8192, 4096, device=device, dtype=torch.bfloat16)
    weight = torch.randint(-127, 128, (4096, 4096), device=device, dtype=torch.int8)
    scale = torch.full((4096,), 1e-3, device=device, dtype=torch.bfloat16)
    return 2.0 * 8192 * 4096 * 4096 / seconds_of(lambda: int8_linear(rows, weight, scale, None), 8)


def _attention_rate(device: torch.device, backend: SDPBackend | None = None) -> float:
    """Operations a second of one backend, or of torch's own choice; 0 if the device cannot run it.

    Torch's plain formula holds all scores at once: devices that have nothing else are measured with fewer tokens.
    """
    for tokens in (TOKENS, TOKENS // 8):
        shape = (1, HEADS, tokens, WIDTH)
        query, key, value = (torch.randn(shape, device=device, dtype=torch.bfloat16) for _ in range(3))
        try:
            with sdpa_kernel(backend) if backend else nullcontext():
                seconds = seconds_of(partial(scaled_dot_product_attention, query, key, value))
        except RuntimeError:
            continue
        return 4.0 * HEADS * tokens**2 * WIDTH / seconds
    return 0.0


def _speeds(name: str, device: torch.device, cache: Path) -> Speeds | None:
    """Speeds of this device with this version of torch, cached or measured; None if they cannot be measured."""
    path = cache / "speeds.json"
    versions = {"triton": package_version("triton"), "sageattention": sage_version()}
    found = [f"{package} {version}" for package, version in versions.items() if version]
    key = ", ".join([name, f"torch {torch.__version__}", *found])
    known = _saved_speeds(path).get(key)
    if known is not None and known.fused is not None:
        return known
    speeds = measure(device)
    if speeds is None:
        return None
    logger.info("%s: %s", key, speeds)
    with only_writer(path), whole_file(path) as part:
        all_speeds = _saved_speeds(path) | {key: speeds}
        part.write_text(json.dumps({name: asdict(entry) for name, entry in all_speeds.items()}), "utf-8")
    return speeds


def _saved_speeds(path: Path) -> dict[str, Speeds]:
    """Speeds by device and versions; none if the file is missing or damaged."""
    try:
        return parse(dict[str, Speeds], read_json_file(path))
    except (OSError, OutsideDataError):
        return {}


def _device_memory(kind: str, ram_free: int, ram_total: int) -> tuple[int, int]:
    """(free, total) bytes. A device without memory of its own shares the machine's."""
    if kind == "mps":
        limit = int(torch.mps.recommended_max_memory())
        return min(ram_free, limit), min(ram_total, limit)
    interface = torch.get_device_module(kind)
    if not hasattr(interface, "mem_get_info"):
        return ram_free, ram_total
    try:
        free, total = interface.mem_get_info()
        own = interface.memory_reserved() if hasattr(interface, "memory_reserved") else 0
    except RuntimeError:
        return 0, 0
    return min(int(free) + int(own), int(total)), int(total)


def _name(kind: str) -> str:
    interface = torch.get_device_module(kind)
    return str(interface.get_device_name()) if hasattr(interface, "get_device_name") else kind
