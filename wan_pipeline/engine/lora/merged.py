"""LoRAs merged into the weight that a linear layer computes with, for one forward and never kept.

With many tokens a pass over a layer's output costs more than one over its weight. So the weight is dequantized, or
copied, as for every forward, the update is added to it, and the layer multiplies once. What is stored stays as it is,
and streamed blocks compute as resident ones do.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import MethodType
from typing import Any

import torch
from torch.nn.functional import linear

from wan_pipeline.engine.lora.low_rank import LowRank
from wan_pipeline.engine.lora.weight_changes import WeightChange
from wan_pipeline.engine.memory.quantized_layers import DequantizedLinear, dequantized

MERGEABLE = (torch.nn.Linear, DequantizedLinear)
"""Types of layers. Those that compute in 8 bits have no weight that could be merged into."""


def is_cheaper(rows: int, inputs: int, outputs: int) -> bool:
    """Whether merging moves less memory than adding to the output of this many rows.

    A weight is read and written once more; beside it, the input is read again, and the output is written and read
    twice. It depends on shapes alone, so that every plan computes alike.
    """
    return rows * (inputs + 4 * outputs) > 3 * inputs * outputs


def merged_forward(layer: torch.nn.Module, updates: Sequence[LowRank | WeightChange]) -> Any:
    """The forward of a layer of a type in MERGEABLE, with updates."""
    forward_alone = type(layer).forward
    needs_base = any(update.needs_base for update in updates)

    def forward(self: Any, inputs: torch.Tensor) -> torch.Tensor:
        outputs, width = self.weight.shape
        if not is_cheaper(inputs.numel() // width, width, outputs):
            output: torch.Tensor = forward_alone(self, inputs)
            for update in updates:
                output = update(self, (inputs,), output)
            return output
        base, bias = dequantized(self.weight), self.bias
        weight = base.clone() if needs_base or base is self.weight else base
        for update in updates:
            update.merge(weight, base)
            bias = update.merged_bias(bias, weight.device)
        return linear(inputs, weight, bias)

    return MethodType(forward, layer)
