"""What this machine has free just now, for the planner."""

from __future__ import annotations

import platform
from dataclasses import dataclass

import psutil
import torch

from wan_pipeline.engine.planner import Machine, without_device


@dataclass(frozen=True)
class Hardware:
    """Bytes."""

    device: str
    name: str
    vram_total: int
    vram_free: int
    ram_total: int
    ram_free: int


def look() -> Hardware:
    """At the accelerator that torch would take, or at the CPU. A GPU that is lost or busy counts as full."""
    memory = psutil.virtual_memory()
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if accelerator is None:
        name = platform.processor() or platform.machine()
        return Hardware("cpu", name, 0, 0, memory.total, memory.available)
    free, total = _device_memory(accelerator.type, memory.available, memory.total)
    return Hardware(accelerator.type, _name(accelerator.type), total, free, memory.total, memory.available)


def machine(hardware: Hardware) -> Machine:
    if hardware.device == "cpu":
        return without_device(hardware.ram_free)
    return Machine(hardware.vram_free, hardware.ram_free)


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
    except RuntimeError:
        return 0, 0
    return int(free), int(total)


def _name(kind: str) -> str:
    interface = torch.get_device_module(kind)
    return str(interface.get_device_name()) if hasattr(interface, "get_device_name") else kind
