"""A clip's adapters for all experts of a model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from wan_pipeline.engine.lora.adapters import AdapterHome, Layers, applied, read_weights
from wan_pipeline.engine.lora.factor import Factor
from wan_pipeline.lora.adapter import Adapter

Adapters = list[tuple[Adapter, Layers]]


def read_adapters(
    adapters: Iterable[Adapter], home: AdapterHome, device: torch.device, steps: int
) -> tuple[Adapters, list[Factor]]:
    """The adapters' updates in their home, and the factors of those with a schedule on the device that computes.

    Raises LoraError.
    """
    read, factors = [], []
    for adapter in adapters:
        factor = Factor(adapter.schedule.factors(steps), device) if adapter.schedule else None
        read.append((adapter, read_weights(adapter, home, factor)))
        factors += [factor] if factor else []
    return read, factors


@contextmanager
def applied_to_experts(transformers: Sequence[Any], adapters: Adapters, *, merged: bool) -> Iterator[None]:
    """Context manager: each transformer computes with the adapters for it, and afterwards bit for bit as before."""
    with ExitStack() as stack:
        for expert, transformer in enumerate(transformers):
            layers = [layers for adapter, layers in adapters if expert in adapter.experts]
            stack.enter_context(applied(transformer, layers, merged=merged))
        yield
