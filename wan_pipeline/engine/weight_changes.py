"""Changes of whole weights, computed from a file's factors for each forward and never kept.

The formulas are those of LyCORIS (`lycoris/modules/{full,lokr,loha,locon}.py`, `lycoris/functional/general.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.nn import Conv3d
from torch.nn.functional import conv3d, layer_norm, linear, rms_norm

from wan_pipeline.engine.memory.quantize import dequantized
from wan_pipeline.lora.changes import Change, Kind
from wan_pipeline.lora.keys import Role

Tensors = dict[Role, torch.Tensor]


@dataclass(frozen=True)
class WeightChange:
    """Adds the output of a changed weight to a module's output."""

    change: Change
    tensors: Tensors
    scale: float
    """Alpha over rank."""
    weight: float
    """The strength that the user gave."""

    def __call__(self, module: Any, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
        tensors = {role: value.to(output.device, non_blocking=True).float() for role, value in self.tensors.items()}
        bias = _bias(tensors, self.scale)
        delta = _delta(self.change, tensors, self.scale)
        if delta is None:
            update = tensors[Role.BIAS].reshape(-1, *[1] * (output.ndim - 2 if isinstance(module, Conv3d) else 0))
        else:
            if Role.MAGNITUDE in tensors:
                base = dequantized(module.weight).float()
                delta = _decomposed(base + delta, tensors[Role.MAGNITUDE]) - base
            update = _forward(module, inputs[0], delta, bias)
        return output.add_((update * self.weight).to(output.dtype))


@dataclass(frozen=True)
class TimeChange:
    """Adds to a block's modulation, through the time embedding that is added to the same table."""

    diff: torch.Tensor
    index: int
    """Of the time embedding among the forward's arguments."""

    def __call__(self, module: torch.nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        time = inputs[self.index]
        diff = self.diff.to(inputs[0].device)
        if isinstance(time, torch.Tensor):
            changed = time.float() + diff
        else:  # one row for each timestep of the tokens
            changed = replace(time, values=time.values.float() + diff)
        return (*inputs[: self.index], changed, *inputs[self.index + 1 :])


def _delta(change: Change, tensors: Tensors, scale: float) -> torch.Tensor | None:
    """What is added to the weight; None where only the bias changes."""
    match change.kind:
        case Kind.LORA:
            delta = _pair(tensors) * scale
        case Kind.LOKR:
            delta = _lokr(tensors) * scale
        case Kind.LOHA:
            delta = _loha(tensors) * scale
        case Kind.DIFF:
            if Role.DIFF not in tensors:
                return None
            delta = tensors[Role.DIFF]
    return delta.reshape(change.shape)


def _pair(tensors: Tensors) -> torch.Tensor:
    up, down = tensors[Role.UP].flatten(1), tensors[Role.DOWN].flatten(1)
    if Role.MID in tensors:
        return torch.einsum("ij...,pi,jr->pr...", tensors[Role.MID], up, down)
    return up @ down


def _lokr(tensors: Tensors) -> torch.Tensor:
    first = tensors[Role.LOKR_W1] if Role.LOKR_W1 in tensors else tensors[Role.LOKR_W1_A] @ tensors[Role.LOKR_W1_B]
    if Role.LOKR_W2 in tensors:
        second = tensors[Role.LOKR_W2]
    elif Role.LOKR_T2 in tensors:
        factors = tensors[Role.LOKR_T2], tensors[Role.LOKR_W2_A], tensors[Role.LOKR_W2_B]
        second = torch.einsum("ij...,ip,jr->pr...", *factors)
    else:
        second = tensors[Role.LOKR_W2_A] @ tensors[Role.LOKR_W2_B]
    return torch.kron(first.reshape(*first.shape, *[1] * (second.ndim - 2)), second.contiguous())


def _loha(tensors: Tensors) -> torch.Tensor:
    sides = []
    for a, b, t in (
        (Role.HADA_W1_A, Role.HADA_W1_B, Role.HADA_T1),
        (Role.HADA_W2_A, Role.HADA_W2_B, Role.HADA_T2),
    ):
        rows, columns = tensors[a], tensors[b]
        sides.append(torch.einsum("ij...,jr,ip->pr...", tensors[t], columns, rows) if t in tensors else rows @ columns)
    return sides[0] * sides[1]


def _decomposed(weight: torch.Tensor, magnitude: torch.Tensor) -> torch.Tensor:
    """DoRA, `lycoris/functional/general.py`: each row, or column, at the length that was learned.

    A magnitude of rows is (outputs, 1, …), of peft's linear layers (outputs,), and of its convolutions (1, outputs, …).
    """
    outputs, is_convolution = weight.shape[0], weight.ndim > 2
    of_rows = outputs == magnitude.shape[0] or (is_convolution and outputs == magnitude.shape[1])
    dims = [dim for dim in range(weight.ndim) if dim != (0 if of_rows else 1)]
    norm = torch.linalg.vector_norm(weight, dim=dims, keepdim=True)
    changed: torch.Tensor = weight * (magnitude.reshape(norm.shape) / (norm + torch.finfo(norm.dtype).eps))
    return changed


def _bias(tensors: Tensors, scale: float) -> torch.Tensor | None:
    parts = [tensors[role] * factor for role, factor in ((Role.BIAS, 1.0), (Role.UP_BIAS, scale)) if role in tensors]
    return sum(parts[1:], parts[0]) if parts else None


def _forward(module: Any, rows: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    if isinstance(module, Conv3d):
        return conv3d(rows.float(), weight, bias, module.stride, module.padding, module.dilation, module.groups)
    if isinstance(module, torch.nn.RMSNorm):
        normed = rms_norm(rows.float(), module.normalized_shape, weight, module.eps)
        return normed if bias is None else normed + bias
    if isinstance(module, torch.nn.LayerNorm):
        return layer_norm(rows.float(), module.normalized_shape, weight, bias, module.eps)
    dtype = rows.dtype
    return linear(rows, weight.to(dtype), None if bias is None else bias.to(dtype))


def scale_of(change: Change, alpha: float | None) -> float:
    """Alpha over rank; 1 for LoKr of two whole matrices (`lycoris/modules/lokr.py`) and where there is no alpha."""
    if change.kind is Kind.LOKR and change.alpha_key and {Role.LOKR_W1, Role.LOKR_W2} <= change.keys.keys():
        return 1.0
    if alpha is None or not change.rank:
        return 1.0
    return alpha / change.scale_divisor
