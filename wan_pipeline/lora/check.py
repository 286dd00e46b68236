"""Matches a chosen LoRA with a model of one or two experts. No torch.

A request is checked by it when it is submitted, long before any weights load; the engine applies what it gives.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from wan_pipeline.errors import LoraError
from wan_pipeline.lora.adapter import Adapter, LoraFile, open_lora
from wan_pipeline.lora.experts import Expert, expert_by_metadata
from wan_pipeline.lora.pairs import Lora
from wan_pipeline.lora.reading.values import ValueReader
from wan_pipeline.models.library import InstalledModel

Weights = tuple[float, float]
"""For the high-noise expert, which is the only one of most models, and for the low-noise one."""
SaidExpert = Callable[[Path], Expert | None]
"""What a person answered when asked which expert a file is for, because the file does not say."""


def match_adapters(
    lora: Lora,
    model: InstalledModel,
    weight: float | Weights = 1.0,
    values: ValueReader | None = None,
    said: SaidExpert = lambda path: None,
) -> list[Adapter]:
    """One adapter for each file of the LoRA, with the experts that it is for; two where one file names both, or where
    the experts have weights of their own.

    `values` remembers what it has read of files before.

    Raises LoraError if a file is unreadable, unsafe, of another kind or size, or matches nothing, and for a pair where
    the model has one expert.
    """
    weights = weight if isinstance(weight, tuple) else (weight, weight)
    return match_files(lora, model, partial(open_lora, model=model, values=values), weights, said)


def match_files(
    lora: Lora,
    model: InstalledModel,
    open_file: Callable[[Path], LoraFile],
    weights: Weights = (1.0, 1.0),
    said: SaidExpert = lambda path: None,
) -> list[Adapter]:
    """As `match_adapters`, of files that `open_file` opens."""
    if not model.has_two_experts:
        return [open_file(_only_file(lora, model)).adapter(weights[0])]
    files = {path: open_file(path) for path in lora.paths}
    told = {path: expert_by_metadata(file.header.metadata) for path, file in files.items()}
    if lora.high == lora.low:
        (path,) = lora.paths
        return _of_one_file(files[path], weights, told[path], said)
    return [
        files[path].adapter(weights[expert], experts=(expert,), is_half=lora.is_half)
        for expert, path in _halves(lora, told)
    ]


def _halves(lora: Lora, told: Mapping[Path, Expert | None]) -> list[tuple[int, Path]]:
    """The experts of a half, or of a pair: by metadata, else by name, and by name where both files claim the same."""
    by_name = [(expert, path) for expert, path in enumerate((lora.high, lora.low)) if path is not None]
    by_metadata = [(answer.numbers[0] if (answer := told[path]) else expert, path) for expert, path in by_name]
    is_clear = len({expert for expert, _ in by_metadata}) == len(by_name)
    return sorted(by_metadata) if is_clear else by_name


def _of_one_file(file: LoraFile, weights: Weights, told: Expert | None, said: SaidExpert) -> list[Adapter]:
    """Match a file whose name gives no expert: by its metadata, else by its keys, else as a person said, else with
    both. Keys for both experts are for both, whatever else is said.
    """
    in_keys = file.experts if told is None or len(file.experts) == 2 else ()
    answer = None if in_keys else told or said(file.path)
    experts = in_keys or (answer.numbers if answer else (0, 1))
    is_half, is_by_default = len(experts) == 1, not in_keys and answer is None
    if not in_keys and len({weights[expert] for expert in experts}) == 1:
        adapters = [file.adapter(weights[experts[0]], experts=experts, is_half=is_half)]
    else:
        adapters = [file.adapter(weights[expert], experts=(expert,), is_half=is_half) for expert in experts]
    return [replace(adapter, is_by_default=is_by_default) for adapter in adapters]


def _only_file(lora: Lora, model: InstalledModel) -> Path:
    if lora.is_pair:
        halves = " or ".join(path.stem for path in lora.paths)
        raise LoraError(
            f"LoRA '{lora.name}' is a pair for the two experts of Wan 2.2 A14B, and {model.spec.title} has only one "
            f"expert; choose another LoRA, or one half by its own name: {halves}."
        )
    return lora.paths[0]
