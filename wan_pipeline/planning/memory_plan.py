"""How a clip uses memory: what the planner chooses, the engine does, and jobs and receipts keep as text. No torch."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any

from wan_pipeline.errors import GenerationError
from wan_pipeline.models.precision import Precision


class Residency(StrEnum):
    """Where the model is while nothing of it computes, the roomiest first."""

    RESIDENT = "resident"
    """All of it stays on the device, from clip to clip."""
    OFFLOAD = "offload"
    """Its parts wait in the machine's memory and visit the device one at a time, by accelerate."""
    STREAMED = "streamed"
    """Its blocks wait there, and come one after another while the one before computes."""


@dataclass(frozen=True)
class MemoryPlan:
    """As text: `streamed,int8,blocks=4,chunk=10920,text=streamed,tile=256,vae=fp32`; what has its default is left out.

    `residency`, `blocks`, `disk` and the way between `text=device` and `text=streamed` only move weights about; all
    else decides bits.
    """

    residency: Residency = Residency.RESIDENT
    precision: Precision = Precision.BF16
    blocks: int = 0
    """How many of each streamed transformer's blocks stay on the device."""
    chunk: int = 0
    """Tokens at a time in the feed-forward layers; 0 is all, in the libraries' own way."""
    text: str = "device"
    """Where the text encoder computes: device, streamed (to it), or cpu."""
    tile: int = 0
    """Pixels of a side of the tiles that the VAE decodes; 0 is whole frames."""
    vae: str = "fp32"
    """fp32 as its authors do, or bf16."""
    encode: str = "whole"
    """How the VAE encodes what is given: whole frames, or tiles."""
    disk: int = 0
    """Experts whose weights are read from the disk for each pass."""
    compiled: bool = False

    def __str__(self) -> str:
        words = [self.residency.value, self.precision.value]
        for field in fields(self)[2:]:
            value = getattr(self, field.name)
            if value != field.default:
                words.append(field.name if value is True else f"{field.name}={value}")
        return ",".join(words)

    @property
    def arithmetic(self) -> str:
        """What of it decides the bits of denoising."""
        return f"{self.precision},{self.chunk},{self.compiled},{self.encode},{self.text == 'cpu'}"


def read_plan(text: str) -> MemoryPlan:
    """The inverse of `str`. Raises GenerationError."""
    words = [word.strip() for word in text.split(",")]
    try:
        values: dict[str, Any] = {"residency": Residency(words[0]), "precision": Precision(words[1])}
        for word in words[2:]:
            name, equals, value = word.partition("=")
            values[name] = _VALUES[name](value if equals else "yes")
        return MemoryPlan(**values)
    except (IndexError, KeyError, ValueError) as error:
        raise GenerationError(
            f"'{text[:120]}' is not a memory plan; use {', '.join(Residency)}, or the whole text of one, such as "
            f"'{MemoryPlan(Residency.STREAMED, Precision.INT8)}'."
        ) from error


def is_plan(text: str) -> bool:
    """Whether it is the text of a whole plan that this version knows."""
    try:
        read_plan(text)
    except GenerationError:
        return False
    return True


def _one_of(*allowed: str) -> Any:
    def read(text: str) -> str:
        if text not in allowed:
            raise ValueError(text)
        return text

    return read


def _count(text: str) -> int:
    if not 0 <= int(text) < 2**53:
        raise ValueError(text)
    return int(text)


_VALUES: dict[str, Any] = {
    "blocks": _count,
    "chunk": _count,
    "text": _one_of("device", "streamed", "cpu"),
    "tile": _count,
    "vae": _one_of("fp32", "bf16"),
    "encode": _one_of("whole", "tiles"),
    "disk": _count,
    "compiled": lambda text: {"yes": True, "no": False}[text],
}
