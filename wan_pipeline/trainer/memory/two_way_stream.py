"""Block streaming for training: a step computes the blocks from first to last, and then from last to first.

The device holds a few blocks at a time, in buffers that are filled again as soon as their block will not be needed for
longest. Where the order turns, the blocks that are there are used once more, so that with B blocks and R buffers a
step copies 2 * (B - R) of them; with as many buffers as blocks it copies none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from wan_pipeline.engine.memory.block_buffer import Block, BlockBuffer
from wan_pipeline.engine.memory.block_copies import BlockCopier


class TwoWayStream:
    """The buffers of one model's blocks on the device."""

    def __init__(self, blocks: Sequence[Block], device: torch.device, buffers: int) -> None:
        """`buffers`, of 2 or more, are allocated when the first block is about to compute."""
        self._blocks = blocks
        self._order = [*blocks, *reversed(blocks)]
        self._count = min(max(buffers, 2), len(blocks))
        self._copier = BlockCopier(device)
        self._buffers: list[BlockBuffer] = []
        self._position = 0
        """In the order, of the block that computes next."""
        self.copies = 0
        """Blocks copied to the device so far."""

    @contextmanager
    def on_device(self, block: Block) -> Iterator[None]:
        """Context manager: the block is bound to its weights on the device. Leaving it lets the next one come."""
        if not self._buffers:
            self._allocate()
        if self._order[self._position] is not block:  # a pass without a backward, or one that was broken off
            self._position = next(index for index, other in enumerate(self._blocks) if other is block)
            self._fill()
        buffer = next(buffer for buffer in self._buffers if buffer.block is block)
        self._copier.wait_for(buffer)
        block.bind(buffer.slab)
        try:
            yield
        finally:
            block.unbind()
            self._copier.release(buffer)
            self._position = (self._position + 1) % len(self._order)
        self._fill()

    def close(self) -> None:
        """Wait for the copies in flight, and release the buffers."""
        self._copier.synchronize()
        self._buffers.clear()
        for block in self._blocks:
            block.unbind()
            block.forget_slabs()
        self._position = 0

    def _allocate(self) -> None:
        size = max(block.nbytes for block in self._blocks)
        self._buffers = [self._copier.device_buffer(size) for _ in range(self._count)]
        if any(block.home_slab is None for block in self._blocks):
            self._copier.allocate_staging(size)
        self._fill()

    def _fill(self) -> None:
        """Copy the blocks that are needed next into buffers whose block is not among them."""
        wanted = self._next_blocks()
        held = {buffer.block for buffer in self._buffers}
        free = [buffer for buffer in self._buffers if buffer.block not in wanted]
        for block, buffer in zip([block for block in wanted if block not in held], free, strict=False):
            self._copier.copy(block, buffer)
            self.copies += 1

    def _next_blocks(self) -> list[Block]:
        """The blocks that compute next, as many as there are buffers."""
        wanted: list[Block] = []
        position = self._position
        while len(wanted) < self._count:
            block = self._order[position]
            if block not in wanted:
                wanted.append(block)
            position = (position + 1) % len(self._order)
        return wanted
