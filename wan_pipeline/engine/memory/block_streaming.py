"""Block streaming: a model larger than the device's memory computes while its next block is copied there.

Each block's tensors lie side by side in one slab of pinned memory, so a block is one copy. On the device a ring buffer
of two takes the blocks in turn, and resident blocks keep a buffer of their own. The block to prefetch is the next one
in forward order, and the first after the last. If another block computes instead (the second expert's, for example),
that is a prefetch miss: it is copied then, and its forward waits. Devices without streams make the same copies in
program order. What a block's modules were given for one clip (the matrices of LoRAs) travels with it: small copies of
their own would wait in the device's queue behind the next block's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import zip_longest
from typing import Any

import torch
from torch.utils.hooks import RemovableHandle

from wan_pipeline.engine.memory.alignment import align
from wan_pipeline.engine.memory.block_buffer import Block, BlockBuffer, move_home
from wan_pipeline.engine.memory.block_copies import BlockCopier, has_streams
from wan_pipeline.engine.memory.forwards import restoring_forwards
from wan_pipeline.engine.memory.inner_tensors import (
    NamedTensor,
    blocks_of,
    inner_tensors,
    named_tensors,
    rewrap,
    set_tensor,
)
from wan_pipeline.planning.transformer import RING_BLOCKS


class StreamedModel:
    """A module whose blocks can be streamed. Its weights may lie in memory or be mapped from a file."""

    def __init__(self, module: torch.nn.Module) -> None:
        self.module = module
        self.blocks = [Block(block) for block in blocks_of(module)]
        align(self.outside_blocks())

    @property
    def nbytes(self) -> int:
        """Bytes of all blocks."""
        return sum(block.nbytes for block in self.blocks)

    def move_to_host_memory(self, *, pinned: bool) -> bool:
        """Copy all blocks into slabs in the machine's memory. False if they should be pinned and not all could be."""
        return move_home(self.blocks, pinned=pinned)

    def carry(self, *, pinned: bool) -> None:
        """Let the blocks carry what their modules have been given since, such as a clip's LoRAs, in slabs as well."""
        if carried := [load for block in self.blocks if (load := block.carry())]:
            move_home(carried, pinned=pinned)

    def outside_blocks(self) -> Iterator[NamedTensor]:
        """The tensors that have to be on the device all the time: those outside the blocks, but not embedding tables.

        A text encoder's token embedding table takes 2 GiB, of which a prompt needs a few rows.
        """
        inside = self._modules_in_blocks()
        for owner, name, tensor in named_tensors(self.module):
            if id(owner) not in inside and not isinstance(owner, torch.nn.Embedding):
                yield owner, name, tensor

    def embedding_tables(self) -> list[torch.nn.Embedding]:
        """The tables outside the blocks. They are looked up where they are; only the rows found go to the device."""
        inside = self._modules_in_blocks()
        return [
            part for part in self.module.modules() if isinstance(part, torch.nn.Embedding) and id(part) not in inside
        ]

    def _modules_in_blocks(self) -> set[int]:
        return {id(part) for block in self.blocks for part in block.module.modules()}


class BlockStream:
    """The ring buffer and the resident blocks of one model, or of several experts that take turns."""

    def __init__(self, models: Sequence[Sequence[Block]], device: torch.device, resident: int) -> None:
        """`models` holds each model's blocks; `resident` of each have a buffer of their own, which experts share.

        Device memory is allocated when the first block is about to compute: until then others may use it.
        """
        self._models = models
        self._resident_count = min(resident, max(len(blocks) for blocks in models))
        self._copier = BlockCopier(device)
        self._resident: dict[Block, BlockBuffer] = {}
        self._successor: dict[Block, Block] = {}
        """The streamed block that follows each streamed block in forward order."""
        self._ring: deque[BlockBuffer] = deque()
        """The buffer to fill next comes first."""
        self._in_flight: deque[BlockBuffer] = deque()
        """Buffers whose block is being copied, or waits for its forward, in the order of computing."""
        self._is_allocated = False
        self.prefetch_misses = 0

    def pre_forward(self, block: Block) -> None:
        """Bind the block to its weights on the device, and let its forward wait until they have arrived."""
        if not self._is_allocated:
            self._allocate()
        if block in self._resident:
            buffer = self._resident[block]
            if buffer.block is not block:  # the first pass, or another expert's block is in it
                self._copier.copy(block, buffer)
        else:
            buffer = self._prefetched(block)
        self._copier.wait_for(buffer)
        block.bind(buffer.slab)

    def post_forward(self, block: Block) -> None:
        """Release the buffer of a block whose forward has been queued, and prefetch the next block into it."""
        block.unbind()
        is_resident = block in self._resident
        buffer = self._resident[block] if is_resident else self._in_flight.popleft()
        self._copier.release(buffer)
        if not is_resident:
            last = self._in_flight[-1].block if self._in_flight else block
            assert last is not None  # noqa: S101 - a buffer in flight holds a block
            self._prefetch(self._successor[last])

    def close(self) -> None:
        """Wait for the copies in flight, so that their memory can be released."""
        self._copier.synchronize()
        self._in_flight.clear()

    def _allocate(self) -> None:
        resident = [[blocks[at] for at in _evenly_spaced(self._resident_count, len(blocks))] for blocks in self._models]
        for sharing in zip_longest(*resident):
            self._resident |= dict.fromkeys(filter(None, sharing), self._buffer_for(filter(None, sharing)))
        for blocks in self._models:
            streamed = [block for block in blocks if block not in self._resident]
            self._successor |= dict(zip(streamed, streamed[1:] + streamed[:1], strict=True))
        self._ring = deque(self._buffer_for(self._successor) for _ in range(RING_BLOCKS if self._successor else 0))
        if mapped := [block.nbytes for blocks in self._models for block in blocks if block.home_slab is None]:
            self._copier.allocate_staging(max(mapped))
        self._is_allocated = True

    def _buffer_for(self, blocks: Iterable[Block]) -> BlockBuffer:
        """A buffer that each of the blocks fits into, with what it carries."""
        return self._copier.device_buffer(max(block.buffer_bytes for block in blocks))

    def _prefetched(self, block: Block) -> BlockBuffer:
        """The buffer that this block was prefetched into; after a miss, the ring is filled anew from this block on."""
        if not self._in_flight or self._in_flight[0].block is not block:
            self.prefetch_misses += 1
            self._in_flight.clear()
            following = block
            for _ in range(RING_BLOCKS):
                self._prefetch(following)
                following = self._successor[following]
        return self._in_flight[0]

    def _prefetch(self, block: Block) -> None:
        buffer = self._ring[0]
        self._ring.rotate(-1)
        self._copier.copy(block, buffer)
        self._in_flight.append(buffer)


@contextmanager
def outside_on_device(models: Sequence[StreamedModel], device: torch.device) -> Iterator[None]:
    """Context manager: what is outside the models' blocks is on `device`, afterwards on its home device again."""
    outside = [entry for model in models for entry in model.outside_blocks()]
    try:
        for owner, name, tensor in outside:
            set_tensor(owner, name, rewrap(tensor, iter([inner.to(device) for inner in inner_tensors(tensor)])))
        yield
    finally:
        for owner, name, tensor in outside:
            set_tensor(owner, name, tensor)


@contextmanager
def streaming(
    models: Sequence[StreamedModel], device: torch.device, resident: int = 0, *, by_call: bool = True
) -> Iterator[BlockStream]:
    """Context manager: the models compute on `device`, each with `resident` of its blocks kept there.

    Models that take turns, such as two experts, share the buffers. Afterwards every tensor is back on its home device.
    What the models have been given since they were loaded, such as LoRAs, goes along and has to be removed later.
    `by_call`: a block's weights are bound whenever it is called; else where `streaming_forwards` says.
    """
    stream = BlockStream([model.blocks for model in models], device, resident)
    hooks: list[RemovableHandle] = []
    with outside_on_device(models, device):
        try:
            for model in models:
                model.carry(pinned=has_streams(device))
                for block in model.blocks if by_call else ():
                    hooks += _stream_hooks(block, stream)
                for table in model.embedding_tables():
                    hooks += _lookup_hooks(table, device)
            yield stream
        finally:
            for hook in hooks:
                hook.remove()
            stream.close()
            for model in models:
                for block in model.blocks:
                    block.unbind()
                    block.forget_slabs()


@contextmanager
def streaming_forwards(blocks: Sequence[Block], stream: BlockStream) -> Iterator[None]:
    """Context manager: weights are bound around the `forward` that each block has now.

    What is put over it and skips it, such as a step cache, skips the copies too.
    """
    with restoring_forwards(block.module for block in blocks):
        for block in blocks:
            block.module.forward = _bound_forward(block, stream, block.module.forward)
        yield


def _bound_forward(block: Block, stream: BlockStream, forward: Callable[..., Any]) -> Callable[..., Any]:
    def bound(*arguments: Any, **options: Any) -> Any:
        stream.pre_forward(block)
        output = forward(*arguments, **options)
        stream.post_forward(block)
        return output

    return bound


def _stream_hooks(block: Block, stream: BlockStream) -> list[RemovableHandle]:
    return [
        block.module.register_forward_pre_hook(lambda *_: stream.pre_forward(block)),
        block.module.register_forward_hook(lambda *_: stream.post_forward(block)),
    ]


def _lookup_hooks(table: torch.nn.Embedding, device: torch.device) -> list[RemovableHandle]:
    return [
        table.register_forward_pre_hook(lambda _, inputs: (inputs[0].to(table.weight.device), *inputs[1:])),
        table.register_forward_hook(lambda _, __, rows: rows.to(device)),
    ]


def _evenly_spaced(count: int, length: int) -> list[int]:
    """`count` indices below `length`, evenly spaced: between two resident blocks there is time to copy others."""
    return [index * length // count for index in range(count)] if count < length else list(range(length))
