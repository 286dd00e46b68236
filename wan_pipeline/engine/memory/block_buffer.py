"""A block's tensors side by side in one piece of memory, so that the whole block is one copy."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from wan_pipeline.engine.memory.inner_tensors import each_tensor, leaves, put, rebuilt

ALIGNMENT = 256
"""Bytes; every kernel is content with it."""
ARENA_BYTES = 4 * 2**30
"""Pinned memory is handed out in powers of two, so slabs are cut from pieces of such sizes."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Leaf:
    offset: int
    shape: torch.Size
    dtype: torch.dtype

    def view(self, slab: torch.Tensor) -> torch.Tensor:
        length = self.shape.numel() * self.dtype.itemsize
        return slab[self.offset : self.offset + length].view(self.dtype).view(self.shape)


class Block:
    """One of a model's blocks: where its tensors are at home, and how they are laid side by side."""

    def __init__(self, module: torch.nn.Module) -> None:
        self.module = module
        self.slab: torch.Tensor | None = None
        """Its home, where all of it lies together; None while its tensors lie wherever they were loaded to."""
        entries = list(each_tensor(module))
        self._entries = [(owner, name) for owner, name, _ in entries]
        self._home = [tensor for _, _, tensor in entries]
        self._places: dict[int, list[torch.Tensor]] = {}
        self._leaves: list[_Leaf] = []
        end = 0
        for tensor in self._home:
            for leaf in leaves(tensor):
                self._leaves.append(_Leaf(end, leaf.shape, leaf.dtype))
                end += -(-leaf.nbytes // ALIGNMENT) * ALIGNMENT
        self.nbytes = end

    def settle(self, slab: torch.Tensor) -> None:
        """Make this slab the home of the block's tensors, for good. What they lay in before is let go."""
        self.write(slab)
        self._home = self._views(slab)
        self.slab = slab
        self.leave()

    def write(self, slab: torch.Tensor) -> None:
        """Copy the tensors from where they are at home."""
        sources = (leaf for tensor in self._home for leaf in leaves(tensor))
        for leaf, source in zip(self._leaves, sources, strict=True):
            leaf.view(slab).copy_(source)

    def enter(self, slab: torch.Tensor) -> None:
        """Let the module compute with what is in this slab."""
        key = slab.data_ptr()
        if key not in self._places:
            self._places[key] = self._views(slab)
        self._put(self._places[key])

    def leave(self) -> None:
        """Let the module have its tensors from home again."""
        self._put(self._home)

    def forget(self) -> None:
        """Every place but home."""
        self._places.clear()

    def _views(self, slab: torch.Tensor) -> list[torch.Tensor]:
        views = iter([leaf.view(slab) for leaf in self._leaves])
        shells = [rebuilt(tensor, views) for tensor in self._home]
        return [
            torch.nn.Parameter(shell, requires_grad=False) if isinstance(old, torch.nn.Parameter) else shell
            for shell, old in zip(shells, self._home, strict=True)
        ]

    def _put(self, tensors: list[torch.Tensor]) -> None:
        for (owner, name), tensor in zip(self._entries, tensors, strict=True):
            put(owner, name, tensor)


def arena_sizes(slabs: Sequence[int], largest: int = ARENA_BYTES) -> list[int]:
    """Pieces of memory, each a power of two, that hold the slabs in their order with little to spare."""
    sizes, start = [], 0
    while start < len(slabs):
        size = max(_power_of_two(slabs[start]), min(largest, _power_of_two(sum(slabs[start:]) + 1) // 2))
        used = 0
        while start < len(slabs) and used + slabs[start] <= size:
            used += slabs[start]
            start += 1
        sizes.append(size)
    return sizes


def host_memory(size: int, pinned: bool) -> torch.Tensor:
    """Bytes on the machine's side, pinned if wished and possible."""
    if pinned and torch.accelerator.is_available():
        try:
            return torch.empty(size, dtype=torch.uint8, pin_memory=True)
        except RuntimeError:  # the system's limit; unpinned memory is right too, only slower
            logger.warning("The system gives no more pinned memory: %.1f GB go without.", size / 1e9)
    return torch.empty(size, dtype=torch.uint8)


def _power_of_two(size: int) -> int:
    """The least one that holds `size`."""
    return 1 << max(size - 1, 0).bit_length()
