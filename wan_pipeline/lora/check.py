"""Matches a chosen LoRA with a model of one or two experts. No torch.

A request is checked by it when it is submitted, long before any weights load; the engine applies what it gives.
"""

from __future__ import annotations

from pathlib import Path

from wan_pipeline.errors import LoraError
from wan_pipeline.lora.adapter import Adapter, match_adapter, open_lora
from wan_pipeline.lora.library import Lora
from wan_pipeline.lora.values import ValueReader
from wan_pipeline.models.library import InstalledModel


def match_adapters(
    lora: Lora, model: InstalledModel, weight: float = 1.0, values: ValueReader | None = None
) -> list[Adapter]:
    """One adapter for each file of the LoRA, with the experts that it is for; two where one file names both.

    `values` remembers what it has read of files before.

    Raises LoraError if a file is unreadable, unsafe, of another kind or size, or matches nothing, and for a pair where
    the model has one expert.
    """
    if not model.has_two_experts:
        return [match_adapter(_only_file(lora, model), model, weight, values)]
    if lora.high == lora.low:
        file = open_lora(lora.paths[0], model, values)
        if not file.experts:
            return [file.adapter(weight, experts=(0, 1))]
        is_half = len(file.experts) == 1
        return [file.adapter(weight, experts=(expert,), is_half=is_half) for expert in file.experts]
    return [
        match_adapter(path, model, weight, values, experts=(expert,), is_half=lora.is_half)
        for expert, path in enumerate((lora.high, lora.low))
        if path is not None
    ]


def _only_file(lora: Lora, model: InstalledModel) -> Path:
    if lora.is_pair:
        halves = " or ".join(path.stem for path in lora.paths)
        raise LoraError(
            f"LoRA '{lora.name}' is a pair for the two experts of Wan 2.2 A14B, and {model.spec.title} has only one "
            f"expert; choose another LoRA, or one half by its own name: {halves}."
        )
    return lora.paths[0]
