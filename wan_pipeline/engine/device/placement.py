"""Where a model computes and in which dtype, through torch's own device interface: CUDA, XPU, MPS or the CPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psutil
import torch

from wan_pipeline.errors import GenerationError, UserError
from wan_pipeline.settings import DEVICE_VARIABLE

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Placement:
    """`dtype` is that of the transformer and the text encoder; the VAE runs in fp32, as its authors run it."""

    device: torch.device
    dtype: torch.dtype

    @property
    def on_cpu(self) -> bool:
        return self.device.type == "cpu"


def choose_placement(setting: str = "") -> Placement:
    """The device of `Settings.device`, an accelerator in bf16 and the CPU in fp32. Raises UserError.

    Without a setting it is the accelerator where there is one.
    """
    device = choose_device(setting)
    return Placement(device, torch.float32 if device.type == "cpu" else torch.bfloat16)


def choose_device(setting: str = "") -> torch.device:
    """The device of `Settings.device`. Raises UserError if this machine has no such device."""
    if setting == "cpu":
        return CPU
    found = torch.accelerator.current_accelerator(check_available=True)
    if setting and (found is None or found.type != setting):
        raise UserError(
            f"This machine has no {setting} device that torch can use; "
            f"set {DEVICE_VARIABLE} to {'cpu' if found is None else f'cpu or {found.type}'}, or leave it unset."
        )
    return found or CPU


def release_memory(placement: Placement) -> None:
    """Return cached memory to the device, so that the next clip starts like the first."""
    if not placement.on_cpu:
        torch.accelerator.empty_cache()


def release_pinned(placement: Placement) -> None:
    """Return unused pinned memory to the system; torch keeps it otherwise."""
    if not placement.on_cpu and hasattr(torch.accelerator, "empty_host_cache"):
        torch.accelerator.empty_host_cache()


def limit_memory(placement: Placement, gib: float) -> None:
    """Cap this process's share of the device's memory, on devices that support it; 0 is no cap."""
    if gib and placement.device.type == "cuda":
        device = torch.cuda.current_device() if placement.device.index is None else placement.device.index
        total = torch.cuda.mem_get_info(device)[1]
        torch.cuda.set_per_process_memory_fraction(min(gib * 2**30 / total, 1.0), device)


def is_out_of_memory(error: RuntimeError) -> bool:
    """CUDA has an exception of its own; MPS and the CPU's allocator raise a RuntimeError that says so."""
    words = ("DefaultCPUAllocator", "out of memory")
    return isinstance(error, torch.OutOfMemoryError) or any(word in str(error) for word in words)


@contextmanager
def telling_shortage(sentence: str) -> Iterator[None]:
    """Context manager: memory that runs out within is a GenerationError with this sentence."""
    try:
        yield
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise GenerationError(sentence) from error


class MemoryGauge:
    """The peak memory of one clip: the device's own peak, or on the CPU this process's largest sample."""

    def __init__(self, placement: Placement) -> None:
        self._placement = placement
        self._process = psutil.Process()
        self._peak = 0
        if not placement.on_cpu:
            torch.accelerator.reset_peak_memory_stats()

    def sample(self) -> None:
        on_cpu = self._placement.on_cpu
        used = self._process.memory_info().rss if on_cpu else torch.accelerator.max_memory_reserved()
        self._peak = max(self._peak, used)

    @property
    def peak_mb(self) -> float:
        """Peak memory in 10^6 bytes."""
        return self._peak / 1e6
