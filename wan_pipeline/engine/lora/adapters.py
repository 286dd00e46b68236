"""LoRA adapters applied to a transformer, never fused into the weights that are kept, and removed without a trace."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from inspect import signature

import torch
from safetensors import SafetensorError, safe_open

from wan_pipeline.engine.lora.factor import Factor
from wan_pipeline.engine.lora.low_rank import LowRank
from wan_pipeline.engine.lora.merged import MERGEABLE, merged_forward
from wan_pipeline.engine.lora.weight_changes import TimeChange, WeightChange, scale_of
from wan_pipeline.engine.memory.alignment import aligned
from wan_pipeline.errors import LoraError
from wan_pipeline.lora.adapter import Adapter
from wan_pipeline.lora.changes import Change, Kind
from wan_pipeline.lora.reading.keys import Role

Update = LowRank | WeightChange
Layers = dict[str, list[Update]]
"""The updates of one adapter by the name of the module, or of the table."""


@dataclass(frozen=True)
class AdapterHome:
    """Where adapters are read to: the device, or host memory where the model's weights are between forwards."""

    device: torch.device
    dtype: torch.dtype

    def store(self, value: torch.Tensor) -> torch.Tensor:
        return aligned(value.to(self.device, self.dtype))


class _Buffers(torch.nn.Module):
    """An update's tensors as buffers of the layer that it changes: what moves the layer's own moves them too."""

    def __init__(self, update: Update) -> None:
        super().__init__()
        vars(self)["_buffers"] = update.tensors  # the same dictionary, so that the update computes with what is in it


def read_weights(adapter: Adapter, home: AdapterHome, factor: Factor | None = None) -> Layers:
    """The adapter's updates, times its weight, on its home device. Raises LoraError for a file that cannot be read.

    `factor` changes them from step to step.
    """
    try:
        with safe_open(adapter.path, framework="pt") as file:
            layers: Layers = {}
            for change in adapter.changes:
                layers.setdefault(change.target, []).append(_update(adapter, file.get_tensor, change, home, factor))
            return layers
    except (SafetensorError, OSError) as error:
        raise LoraError(f"LoRA '{adapter.path.stem}' cannot be read: {error}; download or export it again.") from error


@contextmanager
def applied(transformer: torch.nn.Module, adapters: Sequence[Layers], *, merged: bool = False) -> Iterator[None]:
    """Context manager: the transformer computes with the adapters, and afterwards bit for bit as before.

    `merged`: linear layers add them to a copy of their weights where that is cheaper, instead of to their outputs.
    Updates that keep what they compute of a weight do so for this transformer alone.
    """
    by_target: dict[str, list[Update]] = {}
    for layers in adapters:
        for target, updates in layers.items():
            by_target.setdefault(target, []).extend(
                update.for_one_model() if isinstance(update, WeightChange) else update for update in updates
            )
    with ExitStack() as undo:
        for target, updates in by_target.items():
            owner_name, _, name = target.rpartition(".")
            owner = transformer.get_submodule(owner_name)
            if name in owner._parameters:
                for update in updates:
                    _change_table(owner, name, update, undo)
                continue
            module = owner.get_submodule(name)
            module.add_module("loras", torch.nn.ModuleList(map(_Buffers, updates)))
            undo.callback(module._modules.pop, "loras", None)
            if merged and type(module) in MERGEABLE:
                module.forward = merged_forward(module, updates)
                undo.callback(module.__dict__.pop, "forward", None)
            else:
                for update in updates:
                    undo.callback(module.register_forward_hook(update).remove)
        yield


def _change_table(owner: torch.nn.Module, name: str, update: Update, undo: ExitStack) -> None:
    """A block's table is changed through its time embedding, as its own tensor may be streamed; others are replaced."""
    assert isinstance(update, WeightChange)  # noqa: S101 - the file was matched with it
    table = owner._parameters[name]
    assert table is not None  # noqa: S101 - the same
    diff = update.tensors[Role.DIFF].float().reshape(update.change.shape) * update.weight
    arguments = list(signature(type(owner).forward).parameters)
    if "temb" in arguments and name == "scale_shift_table":
        value = None if update.factor is None else update.factor.value
        hook = TimeChange(diff, arguments.index("temb") - 1, value)
        undo.callback(owner.register_forward_pre_hook(hook).remove)
        return
    before = table.detach().float()
    owner._parameters[name] = torch.nn.Parameter(torch.empty_like(table), requires_grad=False)

    def write() -> None:
        present = owner._parameters[name]  # streaming puts a copy on the device in its place
        assert present is not None  # noqa: S101 - set above
        factor = 1.0 if update.factor is None else update.factor.value.to(present.device)
        present.copy_(before.to(present.device) + diff.to(present.device) * factor)

    write()
    undo.callback(owner._parameters.__setitem__, name, table)
    if update.factor is not None:
        update.factor.listeners.append(write)
        undo.callback(update.factor.listeners.remove, write)


def _update(
    adapter: Adapter,
    tensor: Callable[[str], torch.Tensor],
    change: Change,
    home: AdapterHome,
    factor: Factor | None,
) -> Update:
    is_plain = change.kind is Kind.LORA and Role.DOWN in change.keys and len(change.shape) == 2
    alpha = float(tensor(change.alpha_key)) if change.alpha_key else change.alpha
    scale = scale_of(change, alpha)
    if not math.isfinite(scale * adapter.weight):
        raise LoraError(f"LoRA '{adapter.path.stem}' has an alpha that is not a number, in {change.target}.")
    if is_plain and not change.is_dora and Role.UP_BIAS not in change.keys:
        down, up = tensor(change.keys[Role.DOWN]).float().flatten(1), tensor(change.keys[Role.UP]).float().flatten(1)
        matrices = {Role.DOWN: home.store(down), Role.UP: home.store(up * (adapter.weight * scale))}
        if Role.BIAS in change.keys:
            matrices[Role.BIAS] = home.store(tensor(change.keys[Role.BIAS]).float() * adapter.weight)
        return LowRank(matrices, None if factor is None else factor.value)
    tensors = {role: _stored(tensor(key), home) for role, key in change.keys.items()}
    return WeightChange(change, tensors, scale, adapter.weight, factor)


def _stored(value: torch.Tensor, home: AdapterHome) -> torch.Tensor:
    """In the file's own precision, which is what the forecast counts; fp32 for what torch cannot copy everywhere."""
    dtype = value.dtype if value.dtype in (torch.float16, torch.bfloat16) else torch.float32
    return replace(home, dtype=dtype).store(value)
