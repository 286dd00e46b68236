"""Measures what int8 products change in each layer, on the activations of a clip as it is made.

The first call of each block is computed twice: once to measure, by layers whose input is watched, and once for the
clip, whose bits stay those of its plan. It costs one pass.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from wan_pipeline.engine.int8.exact import int8_layers
from wan_pipeline.engine.memory.forwards import restoring_forwards
from wan_pipeline.engine.memory.inner_tensors import blocks_of
from wan_pipeline.engine.memory.quantized_layers import Int8Linear
from wan_pipeline.errors import StorageError
from wan_pipeline.models.precision import Precision
from wan_pipeline.planning.int8_errors import load_errors, save_errors
from wan_pipeline.planning.memory_plan import LAYERS, MemoryPlan

ROWS = 2048
"""Rows of a layer's input that are multiplied in both ways, evenly spaced."""

logger = logging.getLogger(__name__)


class LayerErrors:
    """The relative errors of a model's layers, each in its worst block, and the blocks that are not measured yet."""

    def __init__(self, save: Callable[[dict[str, float]], None]) -> None:
        self._save = save
        self.worst: dict[str, float] = {}
        self.left: set[torch.nn.Module] = set()

    @classmethod
    def missing(cls, model_id: str, fingerprint: str, plan: MemoryPlan, cache: Path) -> LayerErrors | None:
        """To be measured by a clip of this plan, for a model and its weights; None if they need not or cannot.

        Blocks cannot be called twice where two devices exchange tokens within.
        """
        if plan.precision is not Precision.INT8_COMPUTE or plan.exact or plan.split > 1:
            return None
        if load_errors(cache, model_id, fingerprint) is not None:
            return None
        return cls(lambda errors: save_errors(cache, model_id, fingerprint, errors))

    def save(self) -> None:
        """Store the errors if all blocks were measured. A clip that resumes may have missed the first expert's."""
        if self.left:
            return
        logger.info("Relative errors of int8 products: %s", self.worst)
        try:
            self._save(self.worst)
        except StorageError as error:
            logger.warning("The next clip measures them again: %s", error)

    @contextmanager
    def watching(self, block: torch.nn.Module) -> Iterator[None]:
        """Context manager: while the block computes, its layers are measured."""
        hooks = [
            layer.register_forward_pre_hook(self._measure(name)) for name, layer in int8_layers(block, LAYERS).items()
        ]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()
        self.left.discard(block)

    def _measure(self, name: str) -> Any:
        def measure(layer: Int8Linear, inputs: tuple[torch.Tensor, ...]) -> None:
            rows = inputs[0].flatten(0, -2)
            error = layer.relative_error(rows[:: -(-len(rows) // ROWS)])
            self.worst[name] = max(self.worst.get(name, 0.0), error)

        return measure


@contextmanager
def measuring(transformer: torch.nn.Module, errors: LayerErrors) -> Iterator[None]:
    """Context manager: the first call of each block measures its layers."""
    blocks = blocks_of(transformer)
    errors.left.update(blocks)
    with restoring_forwards(blocks):
        for block in blocks:
            block.forward = _measuring_forward(block, block.forward, errors)
        yield


def _measuring_forward(block: torch.nn.Module, forward: Callable[..., Any], errors: LayerErrors) -> Any:
    def measured(hidden: torch.Tensor, *arguments: Any, **options: Any) -> Any:
        if block in errors.left:
            kept = hidden.to("cpu", copy=True)  # the chunked forward writes over it; the device may have no room
            with errors.watching(block), torch.compiler.set_stance("force_eager"):
                forward(hidden, *arguments, **options)
            hidden.copy_(kept)
        return forward(hidden, *arguments, **options)

    return measured
