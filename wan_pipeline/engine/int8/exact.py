"""Layers that multiply in 16 bits for a clip, among those that multiply in int8."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager

import torch

from wan_pipeline.engine.memory.inner_tensors import blocks_of
from wan_pipeline.engine.memory.quantized_layers import Int8Linear


def int8_layers(block: torch.nn.Module, names: Collection[str]) -> dict[str, Int8Linear]:
    """Those of a block's layers of these names that multiply in int8."""
    named = dict(block.named_modules())
    return {name: layer for name in names if isinstance(layer := named.get(name), Int8Linear)}


@contextmanager
def exact_layers(transformer: torch.nn.Module, names: Collection[str]) -> Iterator[None]:
    """Context manager: in all blocks the layers of these names multiply in 16 bits."""
    layers = [layer for block in blocks_of(transformer) for layer in int8_layers(block, names).values()]
    try:
        for layer in layers:
            layer.is_exact = True
        yield
    finally:
        for layer in layers:
            del layer.is_exact
