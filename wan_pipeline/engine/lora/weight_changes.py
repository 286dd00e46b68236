"""Changes of whole weights, computed from a file's factors for each forward and never kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch.nn import Conv3d
from torch.nn.functional import conv3d, layer_norm, linear, rms_norm

from wan_pipeline.engine.lora.factor import Factor
from wan_pipeline.engine.lora.formulas import Tensors, added, multiplied, norm_dims, parts_of
from wan_pipeline.engine.memory.quantized_layers import dequantized
from wan_pipeline.lora.changes import Change, Kind
from wan_pipeline.lora.reading.keys import Role


@dataclass(frozen=True)
class WeightChange:
    """Adds the output of a changed weight to a module's output, or the change to the weight."""

    change: Change
    tensors: Tensors
    scale: float
    """Alpha over rank."""
    weight: float
    """The strength that the user gave."""
    factor: Factor | None = None
    """Factor of the current step; None: 1."""
    _norms: list[torch.Tensor] = field(default_factory=list, compare=False)
    """DoRA's norm of the changed weight, once it is known."""

    def for_one_model(self) -> WeightChange:
        """The same change without the norm, which is of one model's weight: an adapter may be applied to two."""
        return replace(self, _norms=[])

    @property
    def needs_base(self) -> bool:
        """Whether the change depends on the weight that it is added to."""
        return self.change.is_dora or self.change.kind in (Kind.OFT, Kind.IA3)

    def __call__(self, module: Any, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
        tensors = self._on(output.device)
        bias = self._bias(tensors, getattr(module, "bias", None))
        if not self._has_weight:
            assert bias is not None  # noqa: S101 - a change is of a weight or a bias
            update = bias.reshape(-1, *[1] * (output.ndim - 2 if isinstance(module, Conv3d) else 0))
            return output.add_((update * self._strength).to(output.dtype))
        base = dequantized(module.weight) if self.needs_base else None
        for rows, delta in self._deltas(tensors, base):
            of_rows = None if bias is None else bias[rows]
            update = _forward(module, inputs[0], delta, of_rows) * self._strength
            is_all = len(delta) == self.change.shape[0]
            (output if is_all else output[..., rows]).add_(update.to(output.dtype))
        return output

    def merge(self, weight: torch.Tensor, base: torch.Tensor) -> None:
        """Add the change to the weight, (outputs, inputs), in place; `base` is the layer's own."""
        if self._has_weight:
            for rows, delta in self._deltas(self._on(weight.device), base):
                weight[rows] += (delta * self._strength).to(weight.dtype)

    def merged_bias(self, bias: torch.Tensor | None, device: torch.device) -> torch.Tensor | None:
        """The layer's bias with this change's, on the device that the layer computes on."""
        vectors = {role: value for role, value in self.tensors.items() if role in (Role.BIAS, Role.UP_BIAS, Role.IA3)}
        change = self._bias(
            {role: value.to(device, non_blocking=True).float() for role, value in vectors.items()}, bias
        )
        if change is None:
            return bias
        present: torch.Tensor = change * self._strength
        return present if bias is None else bias + present.to(bias.dtype)

    def _bias(self, tensors: Tensors, bias: torch.Tensor | None) -> torch.Tensor | None:
        """What is added to the bias, which (IA)3 of outputs multiplies."""
        if Role.IA3 in tensors and bias is not None and len(tensors[Role.IA3]) == len(bias):
            return bias.float() * (tensors[Role.IA3].flatten() - 1)
        return _bias(tensors, self.scale)

    @property
    def _has_weight(self) -> bool:
        return self.change.kind is not Kind.DIFF or Role.DIFF in self.tensors

    @property
    def _strength(self) -> Any:
        return self.weight if self.factor is None else self.factor.value * self.weight

    def _on(self, device: torch.device) -> Tensors:
        return {role: value.to(device, non_blocking=True).float() for role, value in self.tensors.items()}

    def _deltas(self, tensors: Tensors, base: torch.Tensor | None) -> Iterator[tuple[slice, torch.Tensor]]:
        """Parts of the weight's outputs, and what is added to each."""
        parts = parts_of(self.change, tensors)
        if self.change.kind in (Kind.OFT, Kind.IA3) and base is not None:
            for rows in parts:
                part = base[rows].float()
                yield rows, multiplied(self.change, tensors, part, rows) - part
            return
        if Role.MAGNITUDE not in tensors or base is None:
            yield from ((rows, added(self.change, tensors, self.scale, rows)) for rows in parts)
            return
        scale = self._dora_scale(tensors, base, parts)
        for rows in parts:
            part = base[rows].float()
            changed = part + added(self.change, tensors, self.scale, rows)
            yield rows, changed * (scale[rows] if scale.shape[0] > 1 else scale) - part

    def _dora_scale(self, tensors: Tensors, base: torch.Tensor, parts: list[slice]) -> torch.Tensor:
        """What DoRA multiplies the changed weight by, so that each row, or column, has the length that was learned.

        LyCORIS, `lycoris/functional/general.py`. The norm is computed once and kept, but not by compiled code.
        """
        magnitude, dims = tensors[Role.MAGNITUDE], norm_dims(base.shape, tensors[Role.MAGNITUDE])
        if self._norms:
            norm = self._norms[0]
        else:
            norm = self._norm(tensors, base, parts, dims)
            if not torch.compiler.is_compiling():
                self._norms.append(norm)
        return magnitude.reshape(norm.shape) / (norm + torch.finfo(norm.dtype).eps)

    def _norm(self, tensors: Tensors, base: torch.Tensor, parts: list[slice], dims: tuple[int, ...]) -> torch.Tensor:
        changed = (base[rows].float() + added(self.change, tensors, self.scale, rows) for rows in parts)
        if 0 not in dims:
            return torch.cat([torch.linalg.vector_norm(part, dim=dims, keepdim=True) for part in changed])
        squares = [part.square().sum(dim=dims, keepdim=True) for part in changed]
        return torch.stack(squares).sum(0).sqrt()


@dataclass
class TimeChange:
    """Adds to a block's modulation, through the time embedding that is added to the same table."""

    diff: torch.Tensor
    index: int
    """Index of the time embedding among the forward's arguments."""
    factor: torch.Tensor | None = None
    """Scalar of the present step; None: 1."""

    def __call__(self, module: torch.nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        time = inputs[self.index]
        self.diff = self.diff.to(inputs[0].device)  # stays there: it is small
        diff = self.diff if self.factor is None else self.diff * self.factor
        if isinstance(time, torch.Tensor):
            changed = time.float() + diff
        else:  # one row for each timestep of the tokens
            changed = replace(time, values=time.values.float() + diff)
        return (*inputs[: self.index], changed, *inputs[self.index + 1 :])


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
