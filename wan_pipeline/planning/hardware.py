"""What this machine has, as the engine measured it and stored it for programs that do not load torch."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated

import psutil
from pydantic import Field

from wan_pipeline.planning.attention import SageSpeed
from wan_pipeline.planning.machine import Machine, without_device
from wan_pipeline.storage.files import whole_file
from wan_pipeline.storage.outside import OutsideDataError, parse, read_json_file

# Measured with benchmarks/gpu on an H100 with torch 2.11.
EFFICIENCY = 0.8
"""Share of the measured matrix and attention rates that a whole pass reaches; norms and the like take the rest."""
DECODE_OPERATIONS = 83e6
"""Matrix operations in the time that the VAE decodes one pixel in fp32."""
MIN_FUSED_SPEEDUP = 1.05
"""Plans have their pointwise operations fused where that was measured to be so much quicker."""

Bytes = Annotated[int, Field(ge=0)]
Rate = Annotated[float, Field(gt=0)]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Speeds:
    """Rates of the device, measured in about a second."""

    matmul: Rate
    """Operations a second of bf16 matrix products."""
    attention: Rate
    """Operations a second of bf16 attention."""
    copy: Rate
    """Bytes a second from pinned memory to the device."""
    backend: str = "native"
    """The fastest exact attention backend, by its diffusers name."""
    int8: Annotated[float, Field(ge=0)] = 0.0
    """Operations a second of int8 products, with rounding the activations; 0 if the device has none."""
    sage: tuple[SageSpeed, ...] = ()
    """SageAttention, if it is installed."""
    fused: Annotated[float, Field(ge=0)] | None = None
    """How much quicker our kernels compute pointwise operations than torch does; 0 where they do not work, None in
    files of versions that had none."""


@dataclass(frozen=True)
class Hardware:
    """A machine's device and memory, in bytes. `vram_total` is 0 for a CPU."""

    device: str
    """Torch's device type: `cuda`, `mps`, `xpu` or `cpu`."""
    name: str
    vram_total: Bytes
    vram_free: Bytes
    """Not held by other programs: what this process holds counts as free."""
    ram_total: Bytes
    ram_free: Bytes
    speeds: Speeds | None = None
    ram_own: Bytes = 0
    """The part of `ram_free` that the process held when it measured."""
    second_free: Bytes = 0
    """Free memory of a second device of the same kind when it could last be taken; 0 if there is none."""

    @property
    def machine(self) -> Machine:
        """The machine to plan for, where one worker has it alone."""
        return self.machine_of(1)

    def machine_of(self, workers: int, *, is_alone: bool = False) -> Machine:
        """The machine that each of so many workers plans for; one whose clip `is_alone` may use the second device too.

        They share the memory that is free, but what a worker holds itself, such as its model's pinned weights, stays
        its own: else the next clip of the same model would no longer fit into its share.
        """
        own = min(self.ram_own, self.ram_free)
        ram = (self.ram_free - own) / workers + own
        if self.device == "cpu":
            return without_device(ram)
        second = self.second_free if is_alone else 0
        found = Machine(max(self.vram_free, 1), ram, second=second)  # 0 would mean that the CPU computes
        if self.speeds is None:
            return found
        return replace(
            found,
            matmul_speed=EFFICIENCY * self.speeds.matmul,
            attention_speed=EFFICIENCY * self.speeds.attention,
            copy_speed=EFFICIENCY * self.speeds.copy,
            decode_speed=self.speeds.matmul / DECODE_OPERATIONS,
            int8_speed=EFFICIENCY * self.speeds.int8,
            sage=self.speeds.sage,
            fused=(self.speeds.fused or 0.0) >= MIN_FUSED_SPEEDUP,
        )


def save_hardware(hardware: Hardware, cache: Path) -> None:
    """Store the hardware in the cache folder. Raises StorageError."""
    with whole_file(_file(cache)) as part:
        part.write_text(json.dumps(asdict(hardware)), encoding="utf-8")


def load_hardware(cache: Path) -> Hardware | None:
    """The stored hardware with the machine's memory as it is now; None if there is no readable file yet."""
    try:
        stored = parse(Hardware, read_json_file(_file(cache)))
    except FileNotFoundError:
        return None
    except (OSError, OutsideDataError) as error:
        logger.warning("%s is ignored, because it cannot be read: %s", _file(cache), error)
        return None
    memory = psutil.virtual_memory()
    free = min(memory.available + stored.ram_own, max(stored.ram_free, memory.available))
    return replace(stored, ram_total=memory.total, ram_free=free)


def _file(cache: Path) -> Path:
    return cache / "hardware.json"
