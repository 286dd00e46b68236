"""What goes wrong where a test wants it, in real modules: memory that runs out, by the error that a device raises."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import torch
from torch.nn.modules.module import register_module_forward_pre_hook

ALWAYS = 10**9


def no_room_for(kind: type[torch.nn.Module], times: int = 1) -> AbstractContextManager[None]:
    """The next so many calls of modules of this kind run out of memory."""
    return fault_in(kind, torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), times)


@contextmanager
def fault_in(kind: type[torch.nn.Module], error: Exception, times: int = 1) -> Iterator[None]:
    """The next so many calls of modules of this kind raise this error."""
    left = [times]

    def refuse(module: torch.nn.Module, inputs: object) -> None:
        if type(module) is kind and left[0]:
            left[0] -= 1
            raise error

    hook = register_module_forward_pre_hook(refuse)
    try:
        yield
    finally:
        hook.remove()
