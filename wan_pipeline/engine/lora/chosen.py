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
        adapters = match_adapters(lora, model, choice.weights, library.values)
        applied = applied_lora(choice.name, adapters, model)
        chosen.append(ChosenLora(tuple(map(with_other_half, adapters)), applied))
    return chosen
