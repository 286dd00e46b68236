"""How a training uses memory. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from wan_pipeline.models.precision import Precision


@dataclass(frozen=True)
class TrainingPlan:
    """The base model's precision and place, and what is kept for the backward pass."""

    precision: Precision
    """Of the base model's weights, which are never changed."""
    buffers: int = 0
    """Blocks that the device holds at a time while the others stream to it; 0 for a resident model."""
    recomputes: bool = False
    """Whether the backward pass computes each block's activations again, from its input."""
    inputs_on_host: bool = False
    """Whether the blocks' inputs wait for the backward pass in the machine's memory."""
    small_factors: bool = False
    """Whether factors and moments are bf16 instead of fp32."""

    @property
    def numbers(self) -> list[Any]:
        """What of the plan decides the weights, as JSON: a training is resumed by a plan with the same."""
        return [self.precision.value, self.small_factors]

    def __str__(self) -> str:
        """For people, such as: int8 weights, 2 blocks at a time, factors in bf16."""
        words = [f"{self.precision} weights"]
        words += [f"{self.buffers} blocks at a time"] if self.buffers else []
        words += ["activations computed again"] if self.recomputes and not self.buffers else []
        words += ["block inputs in the machine's memory"] if self.inputs_on_host else []
        words += ["factors in bf16"] if self.small_factors else []
        return ", ".join(words)
