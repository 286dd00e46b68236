"""Looks at this machine: what is free just now, and once how fast it is.

`python -m wan_pipeline.engine.device.probe --workspace DIR` looks, and keeps what it finds for the page.
"""

from __future__ import annotations

import json
import logging
import platform
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from statistics import median

import psutil
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from wan_pipeline.planning.hardware import Hardware, Speeds, save_hardware
from wan_pipeline.storage.files import whole_file

BACKENDS = {
    "_native_cudnn": SDPBackend.CUDNN_ATTENTION,
    "_native_flash": SDPBackend.FLASH_ATTENTION,
    "_native_efficient": SDPBackend.EFFICIENT_ATTENTION,
}
"""Ways of torch's own attention, by the names of diffusers."""
NOT_WORTH_IT = 1.05
"""Torch's own choice is left alone for less."""
TOKENS, HEADS, WIDTH = 16384, 12, 128

logger = logging.getLogger(__name__)


def look(device: torch.device | None = None, cache: Path | None = None) -> Hardware:
    """At the accelerator that torch would take, or at the CPU. A GPU that is lost or busy counts as full.

    With a `cache` its speeds are known too: measured once, in about a second, and kept there.
    """
    memory = psutil.virtual_memory()
    found = device or torch.accelerator.current_accelerator(check_available=True)
    if found is None or found.type == "cpu":
        name = platform.processor() or platform.machine()
        return Hardware("cpu", name, 0, 0, memory.total, memory.available)
    free, total = _device_memory(found.type, memory.available, memory.total)
    hardware = Hardware(found.type, _name(found.type), total, free, memory.total, memory.available)
    return replace(hardware, speeds=_speeds(hardware.name, found, cache)) if cache and free else hardware


def measure(device: torch.device) -> Speeds | None:
    """Matrix products and attention in bf16 at the sizes of video, and copies from pinned memory."""
    rows, weight = (torch.randn(size, 4096, device=device, dtype=torch.bfloat16) for size in (8192, 4096))
    matmul = 2.0 * 8192 * 4096 * 4096 / _seconds(lambda: rows @ weight.T)
    own = _attention(device)
    if not own:
        return None
    rates = {"native": own * NOT_WORTH_IT} | {name: _attention(device, kind) for name, kind in BACKENDS.items()}
    backend = max(rates, key=lambda name: rates[name])
    host = torch.empty(2**28, dtype=torch.uint8, pin_memory=device.type in ("cuda", "xpu"))
    copy = 2**28 / _seconds(lambda: host.to(device, non_blocking=True))
    return Speeds(matmul, max(own, rates[backend]), copy, backend)


def _attention(device: torch.device, backend: SDPBackend | None = None) -> float:
    """Operations a second, of torch's own choice or of one; 0 where the device cannot.

    The plain formula holds all scores at once: where there is nothing better, fewer tokens have to do.
    """
    for tokens in (TOKENS, TOKENS // 8):
        shape = (1, HEADS, tokens, WIDTH)
        query, key, value = (torch.randn(shape, device=device, dtype=torch.bfloat16) for _ in range(3))
        try:
            with sdpa_kernel(backend) if backend else nullcontext():
                seconds = _seconds(partial(scaled_dot_product_attention, query, key, value))
        except RuntimeError:
            continue
        return 4.0 * HEADS * tokens**2 * WIDTH / seconds
    return 0.0


def _seconds(action: Callable[[], object]) -> float:
    taken = []
    for _ in range(4):
        torch.accelerator.synchronize()
        started = time.perf_counter()
        action()
        torch.accelerator.synchronize()
        taken.append(time.perf_counter() - started)
    return max(median(taken[1:]), 1e-6)


def _speeds(name: str, device: torch.device, cache: Path) -> Speeds | None:
    """By the device's name and torch's version; None where they cannot be measured."""
    path = cache / "speeds.json"
    key = f"{name}, torch {torch.__version__}"
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
        return Speeds(**known[key])
    except (OSError, ValueError, KeyError, TypeError):
        known = {}
    speeds = measure(device)
    if speeds is None:
        return None
    logger.info("%s: %s", key, speeds)
    with whole_file(path) as part:
        part.write_text(json.dumps(known | {key: asdict(speeds)}), encoding="utf-8")
    return speeds


def _device_memory(kind: str, ram_free: int, ram_total: int) -> tuple[int, int]:
    """(free, total). A device that shares the machine's memory has what that has."""
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


def main() -> None:
    from wan_pipeline.jobs.launch import settings_of, settings_parser

    settings = settings_of(settings_parser("wan_pipeline.engine.device.probe", "Look at this machine.").parse_args())
    save_hardware(look(cache=settings.cache), settings.cache)


if __name__ == "__main__":
    main()
