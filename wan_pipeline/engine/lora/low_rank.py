"""The update of a pair of matrices, beside a layer's output or merged into the weight that it computes with."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn.functional import linear

from wan_pipeline.engine.lora.formulas import Tensors
from wan_pipeline.lora.reading.keys import Role

ROWS = 16384
"""Tokens at a time: all at once would double a layer's output."""


@dataclass(frozen=True)
class LowRank:
    """The update of a linear layer's output: up @ down @ input + bias. Scales are already multiplied in."""

    tensors: Tensors
    """`down`, (rank, inputs), `up`, (outputs, rank), and where there is one `bias`, (outputs)."""
    factor: torch.Tensor | None = None
    """Scalar of the present step; None: 1."""

    needs_base = False

    def __call__(self, module: torch.nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
        """Add the update to the output, as a forward hook. Factors in host memory are copied to the output's device."""
        down, up = self._matrices(output.device)
        bias = self._on(output.device, Role.BIAS) if Role.BIAS in self.tensors else None
        # some layers of a bf16 transformer are kept in fp32
        for part in _rows(output.shape[-2] if output.ndim > 1 else 1):
            rows = inputs[0][..., part, :] if output.ndim > 1 else inputs[0]
            update = linear(linear(rows.to(down.dtype), down), up, bias)
            update = update if self.factor is None else update * self.factor
            (output[..., part, :] if output.ndim > 1 else output).add_(update.to(output.dtype))
        return output

    def merge(self, weight: torch.Tensor, base: torch.Tensor) -> None:
        """Add the update to the weight, (outputs, inputs), in place."""
        down, up = self._matrices(weight.device)
        up = up if self.factor is None else up * self.factor
        weight.addmm_(up.to(weight.dtype), down.to(weight.dtype))

    def merged_bias(self, bias: torch.Tensor | None, device: torch.device) -> torch.Tensor | None:
        """The layer's bias with this update's, on the device that the layer computes on."""
        if Role.BIAS not in self.tensors:
            return bias
        change = self._on(device, Role.BIAS)
        change = change if self.factor is None else change * self.factor
        return change if bias is None else bias + change.to(bias.dtype)

    def _matrices(self, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        return self._on(device, Role.DOWN), self._on(device, Role.UP)

    def _on(self, device: torch.device, role: Role) -> torch.Tensor:
        return self.tensors[role].to(device, non_blocking=True)


def _rows(count: int) -> list[slice]:
    return [slice(start, start + ROWS) for start in range(0, count, ROWS)]
