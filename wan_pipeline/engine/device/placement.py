"""Where the numbers are crunched, through torch's own device interface: CUDA, MPS or CPU."""

from __future__ import annotations

from dataclasses import dataclass

import psutil
import torch


@dataclass(frozen=True)
class Placement:
    """`dtype` is that of the transformer and the text encoder; the VAE always runs in fp32, as its authors do."""

    device: torch.device
    dtype: torch.dtype

    @property
    def on_cpu(self) -> bool:
        return self.device.type == "cpu"


def choose_placement() -> Placement:
    """The accelerator in bf16 where there is one, else the CPU in fp32."""
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if accelerator is None:
        return Placement(torch.device("cpu"), torch.float32)
    return Placement(accelerator, torch.bfloat16)


def release_memory(placement: Placement) -> None:
    """Give cached blocks back to the device, so that the next clip starts as the first one did."""
    if not placement.on_cpu:
        torch.accelerator.empty_cache()


def release_pinned(placement: Placement) -> None:
    """Give pinned memory that nothing lies in back to the system; torch keeps it otherwise."""
    if not placement.on_cpu and hasattr(torch.accelerator, "empty_host_cache"):
        torch.accelerator.empty_host_cache()


def limit_memory(placement: Placement, gib: float) -> None:
    """Let this process take no more than this of the device's memory, where the device can be told; 0 is no limit."""
    if gib and placement.device.type == "cuda":
        total = torch.cuda.mem_get_info()[1]
        torch.cuda.set_per_process_memory_fraction(min(gib * 2**30 / total, 1.0))


def is_out_of_memory(error: RuntimeError) -> bool:
    """CUDA raises a type of its own; MPS and the CPU's allocator only a RuntimeError that says so."""
    words = ("DefaultCPUAllocator", "out of memory")
    return isinstance(error, torch.OutOfMemoryError) or any(word in str(error) for word in words)


class MemoryGauge:
    """Highest memory in use, in MB: the device's own peak, or on the CPU this process's when it was sampled."""

    def __init__(self, placement: Placement) -> None:
        self._placement = placement
        self._process = psutil.Process()
        self._highest = 0
        if not placement.on_cpu:
            torch.accelerator.reset_peak_memory_stats()

    def sample(self) -> None:
        on_cpu = self._placement.on_cpu
        used = self._process.memory_info().rss if on_cpu else torch.accelerator.max_memory_reserved()
        self._highest = max(self._highest, used)

    @property
    def peak_mb(self) -> float:
        return self._highest / 1e6
