"""The memory of streamed blocks: all tensors of a block side by side in one slab, so that a block is one copy."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from wan_pipeline.engine.memory.inner_tensors import NamedTensor, inner_tensors, named_tensors, rewrap, set_tensor
from wan_pipeline.wording import data_size

SLAB_ALIGNMENT = 256
"""Bytes between the starts of tensors in a slab: what CUDA's own allocator gives, and more than any kernel needs."""
ARENA_BYTES = 4 * 2**30
"""The largest piece of pinned memory. Torch rounds pinned memory up to powers of two, so slabs share such pieces."""

logger = logging.getLogger(__name__)


@dataclass
class BlockBuffer:
    """Memory for one block, and the events that order copies into it and computing from it."""

    slab: torch.Tensor
    """Bytes, enough for each block that may be in it, with what it carries."""
    block: Block | None = None
    """The block whose weights are in it."""
    ready: Any = None
    """Event: the copy into the buffer has finished."""
    free: Any = None
    """Event: the last forward that used the buffer has finished."""


@dataclass(frozen=True)
class _Span:
    """Span of an inner tensor in a slab."""

    offset: int
    shape: torch.Size
    dtype: torch.dtype

    def view(self, slab: torch.Tensor) -> torch.Tensor:
        length = self.shape.numel() * self.dtype.itemsize
        return slab[self.offset : self.offset + length].view(self.dtype).view(self.shape)


class Block:
    """One block of a model: its home tensors, and how they are laid out in a slab."""

    def __init__(self, module: torch.nn.Module, entries: Iterable[NamedTensor] | None = None) -> None:
        """`entries` are the tensors that it holds; None: all that the module has now."""
        self.module = module
        self.carried: Block | None = None
        """What the module was given for one clip, which goes right behind its own tensors in a buffer."""
        self.home_slab: torch.Tensor | None = None
        """The slab that holds its home tensors; None while they are wherever they were loaded to."""
        entries = list(named_tensors(module) if entries is None else entries)
        self._entries = [(owner, name) for owner, name, _ in entries]
        self._home = [tensor for _, _, tensor in entries]
        self._bound: dict[int, list[torch.Tensor]] = {}
        """Tensors in slabs it was bound to, by the slab's address: making them takes longer than a small block."""
        self._spans: list[_Span] = []
        end = 0
        for tensor in self._home:
            for inner in inner_tensors(tensor):
                self._spans.append(_Span(end, inner.shape, inner.dtype))
                end += -(-inner.nbytes // SLAB_ALIGNMENT) * SLAB_ALIGNMENT
        self.nbytes = end

    @property
    def buffer_bytes(self) -> int:
        """Bytes that it takes in a buffer, with what it carries."""
        return self.nbytes + (self.carried.nbytes if self.carried else 0)

    def carry(self) -> Block | None:
        """Carry what its module has been given since, such as a clip's LoRAs, until `forget_slabs`. None: nothing."""
        own = {(id(owner), name) for owner, name in self._entries}
        given = [entry for entry in named_tensors(self.module) if (id(entry[0]), entry[1]) not in own]
        self.carried = Block(self.module, given) if given else None
        return self.carried

    def move_home(self, slab: torch.Tensor) -> None:
        """Make this slab the home of the block's tensors for good, and release where they were before."""
        self.copy_to(slab)
        self._home = self._views(slab)
        self.home_slab = slab
        self.unbind()

    def copy_to(self, slab: torch.Tensor) -> None:
        """Copy the home tensors into the slab."""
        sources = (inner for tensor in self._home for inner in inner_tensors(tensor))
        for span, source in zip(self._spans, sources, strict=True):
            span.view(slab).copy_(source)

    def bind(self, slab: torch.Tensor) -> None:
        """Let the module compute with the weights in this slab."""
        key = slab.data_ptr()
        if key not in self._bound:
            self._bound[key] = self._views(slab)
        self._assign(self._bound[key])
        if self.carried:
            self.carried.bind(slab[self.nbytes :])

    def unbind(self) -> None:
        """Give the module its home tensors back."""
        self._assign(self._home)
        if self.carried:
            self.carried.unbind()

    def forget_slabs(self) -> None:
        """Drop what it carries, and the references to every slab but its home."""
        self._bound.clear()
        self.carried = None

    def _views(self, slab: torch.Tensor) -> list[torch.Tensor]:
        views = iter([span.view(slab) for span in self._spans])
        wrapped = [rewrap(tensor, views) for tensor in self._home]
        return [
            torch.nn.Parameter(new, requires_grad=False) if isinstance(old, torch.nn.Parameter) else new
            for new, old in zip(wrapped, self._home, strict=True)
        ]

    def _assign(self, tensors: list[torch.Tensor]) -> None:
        for (owner, name), tensor in zip(self._entries, tensors, strict=True):
            set_tensor(owner, name, tensor)


def move_home(blocks: Sequence[Block], *, pinned: bool) -> bool:
    """Move blocks into slabs in the machine's memory. False if they should be pinned and not all could be."""
    arenas = [host_memory(size, pinned) for size in arena_sizes([block.nbytes for block in blocks])]
    is_as_asked = not pinned or all(arena.is_pinned() for arena in arenas)
    arena, used = arenas.pop(0), 0
    for block in blocks:
        if used + block.nbytes > len(arena):
            arena, used = arenas.pop(0), 0
        block.move_home(arena[used : used + block.nbytes])
        used += block.nbytes
    return is_as_asked


def arena_sizes(slabs: Sequence[int], largest: int = ARENA_BYTES) -> list[int]:
    """Sizes in bytes of the pieces of memory, each a power of two, that hold the slabs in order with little waste."""
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
    """`size` bytes of the machine's memory, pinned if asked for and if the system allows it."""
    if pinned and torch.accelerator.is_available():
        try:
            return torch.empty(size, dtype=torch.uint8, pin_memory=True)
        except RuntimeError:  # over the system's limit; pageable memory is correct too, only slower
            logger.warning("The system has no more pinned memory: %s are pageable.", data_size(size))
    return torch.empty(size, dtype=torch.uint8)


def _power_of_two(size: int) -> int:
    """The smallest that is not below `size`."""
    return 1 << max(size - 1, 0).bit_length()
