"""A module's tensors, down to the plain tensors inside wrapper subclasses such as quanto's quantized weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

BLOCK_LISTS = ("vace_blocks", "blocks", "encoder.block")
"""Where diffusers' transformers and transformers' text encoders keep their repeated blocks, in forward order."""

NamedTensor = tuple[torch.nn.Module, str, torch.Tensor]
"""The module that owns a parameter or buffer, its name there, and the tensor."""


def blocks_of(module: torch.nn.Module) -> list[torch.nn.Module]:
    """The repeated blocks, which hold nearly all of a model's weights, in forward order."""
    found = [child for name in BLOCK_LISTS if isinstance(child := _submodule(module, name), torch.nn.ModuleList)]
    return [block for blocks in found for block in blocks]


def inner_tensors(tensor: torch.Tensor) -> list[torch.Tensor]:
    """The plain tensors inside a wrapper subclass, in a fixed order. A plain tensor is its own only inner tensor."""
    if not is_traceable_wrapper_subclass(tensor):
        return [tensor.detach()]
    names, _ = tensor.__tensor_flatten__()
    return [inner for name in names for inner in inner_tensors(getattr(tensor, name))]


def rewrap(tensor: torch.Tensor, inner: Iterator[torch.Tensor]) -> torch.Tensor:
    """The same wrapper subclass around other plain tensors, taken from `inner` in the order of `inner_tensors`.

    Quanto's own `.to(device)` may choose another packing for the device, which cannot be streamed; this never does.
    """
    if not is_traceable_wrapper_subclass(tensor):
        return next(inner)
    names, meta = tensor.__tensor_flatten__()
    parts = {name: rewrap(getattr(tensor, name), inner) for name in names}
    wrapper: torch.Tensor = type(tensor).__tensor_unflatten__(parts, meta, tensor.size(), tensor.stride())
    return wrapper


def named_tensors(module: torch.nn.Module) -> Iterator[NamedTensor]:
    """Every parameter and buffer of the module and its children, in a fixed order."""
    for owner in module.modules():
        for table in (owner._parameters, owner._buffers):
            yield from ((owner, name, tensor) for name, tensor in table.items() if tensor is not None)


def set_tensor(owner: torch.nn.Module, name: str, tensor: torch.Tensor) -> None:
    """Replace the module's own parameter or buffer of this name. A plain tensor becomes a frozen parameter."""
    if name in owner._parameters:
        if not isinstance(tensor, torch.nn.Parameter):
            tensor = torch.nn.Parameter(tensor, requires_grad=False)
        owner._parameters[name] = tensor
    else:
        owner._buffers[name] = tensor


def map_tensors(module: torch.nn.Module, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
    """Replace every inner tensor of the module by what `function` returns for it, keeping the wrapper subclasses."""
    for owner, name, tensor in list(named_tensors(module)):
        set_tensor(owner, name, rewrap(tensor, iter([function(inner) for inner in inner_tensors(tensor)])))


def _submodule(module: torch.nn.Module, path: str) -> torch.nn.Module | None:
    found: torch.nn.Module | None = module
    for name in path.split("."):
        found = getattr(found, name, None)
    return found
