"""The plain tensors that a module's blocks consist of. A quantized weight is a shell around two or three of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

BLOCK_LISTS = ("vace_blocks", "blocks", "encoder.block")
"""Where the libraries' transformers and text encoders keep their repeated blocks, in the order of computing."""


def blocks_of(module: torch.nn.Module) -> list[torch.nn.Module]:
    """The repeated blocks that nearly all of a model's weights are in, in the order of computing."""
    found = [child for name in BLOCK_LISTS if isinstance(child := _submodule(module, name), torch.nn.ModuleList)]
    return [block for blocks in found for block in blocks]


def leaves(tensor: torch.Tensor) -> list[torch.Tensor]:
    """The plain tensors inside, in a fixed order; a plain tensor is its own only leaf."""
    if not is_traceable_wrapper_subclass(tensor):
        return [tensor.detach()]
    names, _ = tensor.__tensor_flatten__()
    return [leaf for name in names for leaf in leaves(getattr(tensor, name))]


def rebuilt(tensor: torch.Tensor, others: Iterator[torch.Tensor]) -> torch.Tensor:
    """The same shell around other plain tensors, which are taken from `others` in the order of `leaves`.

    Quanto's own `.to(device)` may pick another packing on the way, which does not stream; this never does.
    """
    if not is_traceable_wrapper_subclass(tensor):
        return next(others)
    names, meta = tensor.__tensor_flatten__()
    inner = {name: rebuilt(getattr(tensor, name), others) for name in names}
    shell: torch.Tensor = type(tensor).__tensor_unflatten__(inner, meta, tensor.size(), tensor.stride())
    return shell


def each_tensor(module: torch.nn.Module) -> Iterator[tuple[torch.nn.Module, str, torch.Tensor]]:
    """(owner, name, tensor) of every parameter and buffer within, in a fixed order."""
    for owner in module.modules():
        for table in (owner._parameters, owner._buffers):
            yield from ((owner, name, tensor) for name, tensor in table.items() if tensor is not None)


def put(owner: torch.nn.Module, name: str, tensor: torch.Tensor) -> None:
    """Let the module's parameter or buffer of that name be this tensor."""
    if name in owner._parameters:
        if not isinstance(tensor, torch.nn.Parameter):
            tensor = torch.nn.Parameter(tensor, requires_grad=False)
        owner._parameters[name] = tensor
    else:
        owner._buffers[name] = tensor


def move(module: torch.nn.Module, place: Callable[[torch.Tensor], torch.Tensor]) -> None:
    """Let every plain tensor of the module be what `place` makes of it, shells kept."""
    for owner, name, tensor in list(each_tensor(module)):
        put(owner, name, rebuilt(tensor, iter([place(leaf) for leaf in leaves(tensor)])))


def _submodule(module: torch.nn.Module, path: str) -> torch.nn.Module | None:
    found: torch.nn.Module | None = module
    for name in path.split("."):
        found = getattr(found, name, None)
    return found
