"""LoRA adapters applied beside the weights, never merged into them, and removed without a trace."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from inspect import signature

import torch
from safetensors import SafetensorError, safe_open
from torch.nn.functional import linear
from torch.utils.hooks import RemovableHandle

from wan_pipeline.engine.memory.alignment import aligned
from wan_pipeline.engine.weight_changes import TimeChange, WeightChange, scale_of
from wan_pipeline.errors import LoraError
from wan_pipeline.lora.adapter import Adapter
from wan_pipeline.lora.changes import Change, Kind
from wan_pipeline.lora.keys import Role

ROWS = 16384
"""Tokens at a time: all at once would double a layer's output."""


@dataclass(frozen=True)
class LowRank:
    """The update of a linear layer's output: up @ down @ input + bias. Scales are already multiplied in."""

    down: torch.Tensor
    """(rank, inputs)."""
    up: torch.Tensor
    """(outputs, rank)."""
    bias: torch.Tensor | None = None
    """(outputs)."""

    def __call__(self, module: torch.nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
        """Add the update to the output, as a forward hook. Factors in host memory are copied to the output's device."""
        device = output.device
        down, up = self.down.to(device, non_blocking=True), self.up.to(device, non_blocking=True)
        bias = None if self.bias is None else self.bias.to(device, non_blocking=True)
        # some layers of a bf16 transformer are kept in fp32
        for part in _rows(output.shape[-2] if output.ndim > 1 else 1):
            rows = inputs[0][..., part, :] if output.ndim > 1 else inputs[0]
            update = linear(linear(rows.to(down.dtype), down), up, bias).to(output.dtype)
            (output[..., part, :] if output.ndim > 1 else output).add_(update)
        return output


Update = LowRank | WeightChange
Layers = dict[str, list[Update]]
"""The updates of one adapter by the name of the module, or of the table."""


@dataclass(frozen=True)
class AdapterHome:
    """Where adapters are between forwards: on the device, or in host memory, pinned for faster copies to it."""

    device: torch.device
    dtype: torch.dtype
    pinned: bool = False

    def store(self, value: torch.Tensor) -> torch.Tensor:
        value = aligned(value.to(self.device, self.dtype))
        if not self.pinned:
            return value
        try:
            return value.pin_memory()
        except RuntimeError:  # over the system's limit; pageable memory is correct too, only slower
            return value


def read_weights(adapter: Adapter, home: AdapterHome) -> Layers:
    """The adapter's updates, times its weight, on its home device. Raises LoraError for a file that cannot be read."""
    try:
        with safe_open(adapter.path, framework="pt") as file:
            layers: Layers = {}
            for change in adapter.changes:
                layers.setdefault(change.target, []).append(_update(adapter, file.get_tensor, change, home))
            return layers
    except (SafetensorError, OSError) as error:
        raise LoraError(f"LoRA '{adapter.path.stem}' cannot be read: {error}; download or export it again.") from error


@contextmanager
def applied(transformer: torch.nn.Module, adapters: Sequence[Layers]) -> Iterator[None]:
    """Context manager: the transformer computes with the adapters, and afterwards bit for bit as before."""
    hooks: list[RemovableHandle] = []
    tables: list[tuple[torch.nn.Module, str, torch.Tensor]] = []
    try:
        for layers in adapters:
            for target, updates in layers.items():
                for update in updates:
                    owner_name, _, name = target.rpartition(".")
                    owner = transformer.get_submodule(owner_name)
                    if name in owner._parameters and isinstance(update, WeightChange):
                        _change_table(owner, name, update, hooks, tables)
                    else:
                        hooks.append(transformer.get_submodule(target).register_forward_hook(update))
        yield
    finally:
        for hook in hooks:
            hook.remove()
        for owner, name, table in reversed(tables):
            owner._parameters[name] = table  # type: ignore[assignment]


def _change_table(
    owner: torch.nn.Module,
    name: str,
    update: WeightChange,
    hooks: list[RemovableHandle],
    tables: list[tuple[torch.nn.Module, str, torch.Tensor]],
) -> None:
    """A block's table is changed through its time embedding, as its own tensor may be streamed; others are replaced."""
    table = owner._parameters[name]
    assert table is not None  # noqa: S101 - the file was matched with it
    diff = update.tensors[Role.DIFF].float().reshape(update.change.shape) * update.weight
    arguments = list(signature(type(owner).forward).parameters)
    if "temb" in arguments and name == "scale_shift_table":
        hooks.append(owner.register_forward_pre_hook(TimeChange(diff, arguments.index("temb") - 1)))
        return
    tables.append((owner, name, table))
    changed = table.detach().float() + diff.to(table.device)
    owner._parameters[name] = torch.nn.Parameter(changed.to(table.dtype), requires_grad=False)


def _update(adapter: Adapter, tensor: Callable[[str], torch.Tensor], change: Change, home: AdapterHome) -> Update:
    is_plain = change.kind is Kind.LORA and Role.DOWN in change.keys and len(change.shape) == 2
    alpha = float(tensor(change.alpha_key)) if change.alpha_key else change.alpha
    scale = scale_of(change, alpha)
    if not math.isfinite(scale * adapter.weight):
        raise LoraError(f"LoRA '{adapter.path.stem}' has an alpha that is not a number, in {change.target}.")
    if is_plain and not change.is_dora and Role.UP_BIAS not in change.keys:
        down, up = tensor(change.keys[Role.DOWN]).float().flatten(1), tensor(change.keys[Role.UP]).float().flatten(1)
        bias = tensor(change.keys[Role.BIAS]).float() * adapter.weight if Role.BIAS in change.keys else None
        stored = None if bias is None else home.store(bias)
        return LowRank(home.store(down), home.store(up * (adapter.weight * scale)), stored)
    tensors = {role: _stored(tensor(key), home) for role, key in change.keys.items()}
    return WeightChange(change, tensors, scale, adapter.weight)


def _stored(value: torch.Tensor, home: AdapterHome) -> torch.Tensor:
    """In the file's own precision, which is what the forecast counts; fp32 for what torch cannot copy everywhere."""
    dtype = value.dtype if value.dtype in (torch.float16, torch.bfloat16) else torch.float32
    return replace(home, dtype=dtype).store(value)


def _rows(count: int) -> list[slice]:
    return [slice(start, start + ROWS) for start in range(0, count, ROWS)]
