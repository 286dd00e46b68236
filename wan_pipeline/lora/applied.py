"""How much of a LoRA's files a clip's model took, for receipts, lists and cards. No torch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wan_pipeline.lora.adapter import Adapter
    from wan_pipeline.models.library import InstalledModel

EXPERTS = ("high", "low")
"""The experts of Wan 2.2 A14B by their noise."""


@dataclass(frozen=True)
class AppliedLora:
    """How many of a LoRA's keys change a model."""

    name: str
    keys: int
    """Tensors in its files."""
    applied: int
    """Number of them that change the model."""
    experts: tuple[str, ...] = ()
    """Those of EXPERTS that it changes; none for a model without experts."""

    @property
    def sentence(self) -> str:
        """For example: 94 of 94 keys applied, high and low noise."""
        experts = f", {' and '.join(self.experts)} noise" if self.experts else ""
        return f"{self.applied:,} of {self.keys:,} keys applied{experts}"


def applied_lora(name: str, adapters: Iterable[Adapter], model: InstalledModel) -> AppliedLora:
    """Count the keys that the adapters made of a LoRA's files use."""
    used: dict[Path, set[str]] = {}
    keys: dict[Path, int] = {}
    experts: set[int] = set()
    for adapter in adapters:
        used.setdefault(adapter.path, set()).update(key for change in adapter.changes for key in change.all_keys)
        keys[adapter.path] = adapter.keys
        experts |= set(adapter.experts)
    names = tuple(EXPERTS[expert] for expert in sorted(experts)) if model.has_two_experts else ()
    return AppliedLora(name, sum(keys.values()), sum(map(len, used.values())), names)
