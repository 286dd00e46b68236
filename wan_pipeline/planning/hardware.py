"""What a machine has, as far as plans care: found by who has torch, kept in a file for who has not. No torch."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import psutil

from wan_pipeline.planning.costs import Machine, without_device
from wan_pipeline.storage.files import whole_file

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Speeds:
    """Operations and bytes a second, measured in a moment."""

    matmul: float
    attention: float
    copy: float
    backend: str = "native"
    """The quickest way of attention, as diffusers calls it."""


@dataclass(frozen=True)
class Hardware:
    """Bytes. A device of its own has `vram`; the CPU has none."""

    device: str
    name: str
    vram_total: int
    vram_free: int
    """By others: what this program holds itself counts as free."""
    ram_total: int
    ram_free: int
    speeds: Speeds | None = None
    ram_own: int = 0
    """Of what counts as free, what this program's worker holds just now."""

    @property
    def machine(self) -> Machine:
        if self.device == "cpu":
            return without_device(self.ram_free)
        found = Machine(max(self.vram_free, 1), self.ram_free)  # a device that is full is no CPU
        if self.speeds is None:
            return found
        speeds = self.speeds
        return replace(
            found,
            matmul_speed=EFFICIENCY * speeds.matmul,
            attention_speed=EFFICIENCY * speeds.attention,
            copy_speed=EFFICIENCY * speeds.copy,
            decode_speed=speeds.matmul / DECODE_OPERATIONS,
        )


EFFICIENCY = 0.8
"""What a whole pass reaches of the rates of its products and of attention alone: the rest is norms and the like."""
DECODE_OPERATIONS = 83e6
"""Of matrix products in the time that the VAE takes for one pixel of a clip, in fp32; from the reference."""


def keep(hardware: Hardware, cache: Path) -> None:
    """For `kept`. Raises StorageError."""
    with whole_file(_file(cache)) as part:
        part.write_text(json.dumps(asdict(hardware)), encoding="utf-8")


def kept(cache: Path) -> Hardware | None:
    """What was found last, with the machine's memory as it is now; None if nobody has looked yet."""
    try:
        facts = json.loads(_file(cache).read_text(encoding="utf-8"))
        speeds = Speeds(**facts.pop("speeds")) if facts["speeds"] else None
        found = Hardware(**{**facts, "speeds": speeds})
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        logger.warning("%s cannot be read and counts as never written: %s", _file(cache), error)
        return None
    memory = psutil.virtual_memory()
    free = min(memory.available + found.ram_own, max(found.ram_free, memory.available))
    return replace(found, ram_total=memory.total, ram_free=free)


def _file(cache: Path) -> Path:
    return cache / "hardware.json"
