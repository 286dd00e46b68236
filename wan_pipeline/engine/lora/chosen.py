"""The LoRAs that a request chooses, matched with its model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from wan_pipeline.lora.adapter import Adapter
from wan_pipeline.lora.applied import AppliedLora, applied_lora
from wan_pipeline.lora.check import match_adapters
from wan_pipeline.lora.library import LoraLibrary
from wan_pipeline.models.library import InstalledModel
from wan_pipeline.requests.request import LoraChoice


@dataclass(frozen=True)
class ChosenLora:
    """One of them, with an adapter for each of its files."""

    adapters: tuple[Adapter, ...]
    applied: AppliedLora


def match_chosen(choices: Sequence[LoraChoice], model: InstalledModel, library: LoraLibrary) -> list[ChosenLora]:
    """Find the files and match them. Raises LoraError."""
    found = [(choice, library.find(choice.name)) for choice in choices]
    paths = {path for _, lora in found for path in lora.paths}

    def with_other_half(adapter: Adapter) -> Adapter:
        return replace(adapter, is_half=adapter.is_half and library.counterpart(adapter.path) not in paths)

    chosen = []
    for choice, lora in found:
        adapters = match_adapters(lora, model, choice.weights, library.values, library.expert_of)
        applied = applied_lora(choice.name, adapters, model)
        scheduled = [replace(with_other_half(adapter), schedule=choice.schedule) for adapter in adapters]
        chosen.append(ChosenLora(tuple(scheduled), applied))
    return chosen


def summed(chosen: Sequence[ChosenLora]) -> list[Adapter]:
    """The adapters to apply: a file that is chosen twice is one, with the sum of its weights."""
    found: dict[tuple[object, ...], Adapter] = {}
    for adapter in (adapter for lora in chosen for adapter in lora.adapters):
        key = adapter.path, adapter.experts, adapter.schedule
        found[key] = replace(adapter, weight=adapter.weight + found[key].weight) if key in found else adapter
    return list(found.values())
