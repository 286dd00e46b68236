"""Changes of whole weights, computed from a file's factors for each forward and never kept.

The formulas are those of LyCORIS (`lycoris/modules/{full,lokr,loha,locon}.py`, `lycoris/functional/general.py`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
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
        tensors = {role: value.to(output.device, non_blocking=True) for role, value in self.tensors.items()}
        bias = _bias(tensors, self.scale)
        delta = _delta(self.change, tensors, self.scale)
        if Role.MAGNITUDE in tensors:
            base = dequantized(module.weight).float()
            delta = _decomposed(base + delta, tensors[Role.MAGNITUDE].float()) - base
        return output.add_((_forward(module, inputs[0], delta, bias) * self.weight).to(output.dtype))


@dataclass(frozen=True)
class TimeChange:
    """Adds to a block's modulation, through the time embedding that is added to the same table."""

    diff: torch.Tensor
    index: int
    """Of the time embedding among the forward's arguments."""

    def __call__(self, module: torch.nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        time = inputs[self.index]
        values = getattr(time, "values", time) if not isinstance(time, torch.Tensor) else time
        changed = values.float() + self.diff.to(values.device)
        new = changed if isinstance(time, torch.Tensor) else type(time)(changed, time.of_token)
        return (*inputs[: self.index], new, *inputs[self.index + 1 :])


def _delta(change: Change, tensors: Tensors, scale: float) -> torch.Tensor:
    makers: dict[Kind, Callable[[Tensors], torch.Tensor]] = {Kind.LORA: _pair, Kind.LOKR: _lokr, Kind.LOHA: _loha}
    values = {role: value.float() for role, value in tensors.items()}
    if change.kind is Kind.DIFF or (Role.UP_BIAS in values and Role.DOWN not in values):
        delta = values.get(Role.DIFF)
        return torch.zeros(change.shape, device=_device(tensors)) if delta is None else delta.reshape(change.shape)
    return makers[change.kind](values).reshape(change.shape) * scale


def _device(tensors: Tensors) -> torch.device:
    return next(iter(tensors.values())).device


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
    """DoRA, `lycoris/functional/general.py`: each row, or column, at the length that was learned."""
    of_outputs = magnitude.ndim == 1 or magnitude.shape[0] == weight.shape[0]
    matrix = weight.flatten(1)
    if of_outputs or weight.ndim > 2:
        norm = matrix.norm(dim=1, keepdim=True)
        matrix = matrix * (magnitude.reshape(-1, 1) / (norm + torch.finfo(norm.dtype).eps))
        rows: torch.Tensor = matrix.reshape(weight.shape)
        return rows
    norm = matrix.norm(dim=0, keepdim=True)
    columns: torch.Tensor = matrix * (magnitude / (norm + torch.finfo(norm.dtype).eps))
    return columns


def _bias(tensors: Tensors, scale: float) -> torch.Tensor | None:
    parts = [
        tensors[role].float() * factor for role, factor in ((Role.BIAS, 1.0), (Role.UP_BIAS, scale)) if role in tensors
    ]
    return sum(parts[1:], parts[0]) if parts else None


def _forward(module: Any, rows: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    if isinstance(module, torch.nn.Conv3d):
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
    return alpha / math.sqrt(change.rank) if change.uses_root else alpha / change.rank
