"""A model larger than the device's memory: its blocks come over one after another while the one before computes.

Each block's tensors lie side by side in one slab of pinned memory, so that a block is one copy. On the device there
is a ring of slots that are used in turn, and berths for the blocks that may stay. Which block comes next is guessed:
the following one, and the first after the last; when another one computes (the other expert's, say) it is fetched then.
Where a device has no streams of its own the same copies are made in the order of the program.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from wan_pipeline.engine.memory.block_buffer import Block, arena_sizes, host_memory
from wan_pipeline.engine.memory.inner_tensors import blocks_of, each_tensor, leaves, put, rebuilt
from wan_pipeline.planning.transformer import RING_BLOCKS


@dataclass
class _Place:
    """Room for one block on the device, and what is in it."""

    slab: torch.Tensor
    block: Block | None = None
    ready: Any = None
    """Event: the block has arrived."""
    free: Any = None
    """Event: what was computed from the block is computed."""


class Stream:
    """Brings blocks to the device just before they compute. Of one model, or of experts that take turns."""

    def __init__(self, models: Sequence[Sequence[Block]], device: torch.device, resident: int) -> None:
        """`models` are the blocks of each; as many of each as `resident` says have a berth of their own.

        Nothing of the device is taken before the first block is asked for: until then others may use it.
        """
        self._models = models
        self._resident = resident
        self._copying = torch.Stream(device) if _has_streams(device) else None
        self._device = device
        self._berths: dict[Block, _Place] = {}
        self._next: dict[Block, Block] = {}
        self._slots: list[_Place] = []
        self._staging: deque[_Place] = deque()
        self._is_ready = False
        self._coming: deque[_Place] = deque()
        self._turn = 0
        self.misses = 0
        """Blocks that were not guessed."""

    def arrive(self, block: Block) -> None:
        """The block is about to compute: see that it is there."""
        if not self._is_ready:
            self._make_room()
        if block in self._berths:
            place = self._berths[block]
            if place.block is not block:
                self._copy(block, place)
        else:
            place = self._awaited(block)
        if self._copying is not None and place.ready is not None:
            torch.accelerator.current_stream(self._device).wait_event(place.ready)
        block.enter(place.slab)

    def depart(self, block: Block) -> None:
        """The block's computing has been asked for: its slot is the one after next's."""
        block.leave()
        place = self._berths[block] if block in self._berths else self._coming.popleft()
        if self._copying is not None:
            place.free = torch.accelerator.current_stream(self._device).record_event()
        if block in self._berths:
            return
        last = self._coming[-1].block if self._coming else block
        assert last is not None  # noqa: S101 - a place that is coming holds a block
        self._fetch(self._next[last])

    def close(self) -> None:
        """Wait for what is on its way, so that its memory may be given back."""
        if self._copying is not None:
            self._copying.synchronize()
        self._coming.clear()

    def _make_room(self) -> None:
        size = max(block.nbytes for blocks in self._models for block in blocks)
        self._resident = min(self._resident, max(len(blocks) for blocks in self._models))
        berths = [self._place(size) for _ in range(self._resident)]
        for blocks in self._models:
            at = _spread(self._resident, len(blocks))
            self._berths |= {blocks[index]: berth for index, berth in zip(at, berths, strict=False)}
            passing = [block for block in blocks if block not in self._berths]
            self._next |= dict(zip(passing, passing[1:] + passing[:1], strict=True))
        self._slots = [self._place(size) for _ in range(RING_BLOCKS if self._next else 0)]
        from_disk = any(block.slab is None for blocks in self._models for block in blocks)
        self._staging = deque(_Place(host_memory(size, pinned=True)) for _ in range(RING_BLOCKS if from_disk else 0))
        self._is_ready = True

    def _awaited(self, block: Block) -> _Place:
        if not self._coming or self._coming[0].block is not block:
            self.misses += 1
            self._coming.clear()
            following = block
            for _ in range(RING_BLOCKS):
                self._fetch(following)
                following = self._next[following]
        return self._coming[0]

    def _fetch(self, block: Block) -> None:
        place = self._slots[self._turn % RING_BLOCKS]
        self._turn += 1
        self._copy(block, place)
        self._coming.append(place)

    def _copy(self, block: Block, place: _Place) -> None:
        source = self._source(block)
        place.block = block
        target = place.slab[: block.nbytes]
        if self._copying is None:
            target.copy_(source.slab[: block.nbytes])
            return
        self._copying.wait_event(place.free)
        with self._copying:
            target.copy_(source.slab[: block.nbytes], non_blocking=True)
        place.ready = source.ready = self._copying.record_event()

    def _source(self, block: Block) -> _Place:
        """The block side by side in pinned memory, read into there from wherever its tensors lie (a file, say)."""
        if block.slab is not None:
            return _Place(block.slab)
        stage = self._staging.popleft()
        self._staging.append(stage)
        if stage.ready is not None:
            stage.ready.synchronize()  # what lay there before is still being copied
        block.write(stage.slab)
        return stage

    def _place(self, size: int) -> _Place:
        slab = torch.empty(size, dtype=torch.uint8, device=self._device)
        here = None if self._copying is None else torch.accelerator.current_stream(self._device).record_event()
        return _Place(slab, free=here)


class Streamed:
    """A module whose blocks can stream. Made once; its weights may lie in memory or, mapped, in a file."""

    def __init__(self, module: torch.nn.Module) -> None:
        self.module = module
        self.blocks = [Block(block) for block in blocks_of(module)]

    @property
    def nbytes(self) -> int:
        return sum(block.nbytes for block in self.blocks)

    def settle(self, *, pinned: bool) -> bool:
        """Give all blocks a home in memory, side by side. Whether it is pinned as wished: systems limit that."""
        arenas = [host_memory(size, pinned) for size in arena_sizes([block.nbytes for block in self.blocks])]
        is_pinned = all(arena.is_pinned() for arena in arenas) if pinned else True
        arena, used = arenas.pop(0), 0
        for block in self.blocks:
            if used + block.nbytes > len(arena):
                arena, used = arenas.pop(0), 0
            block.settle(arena[used : used + block.nbytes])
            used += block.nbytes
        return is_pinned

    def around(self) -> Iterator[tuple[torch.nn.Module, str, torch.Tensor]]:
        """What is not in the blocks and has to be on the device: all but the table of a text encoder's words."""
        inside = {id(owner) for block in self.blocks for owner in block.module.modules()}
        for owner, name, tensor in each_tensor(self.module):
            if id(owner) not in inside and not isinstance(owner, torch.nn.Embedding):
                yield owner, name, tensor


@contextmanager
def streaming(models: Sequence[Streamed], device: torch.device, resident: int = 0) -> Iterator[Stream]:
    """Within the block the models compute on `device`, with `resident` blocks of each model kept there.

    Models that take turns, such as two experts, share the room. Afterwards all is where it was.
    """
    stream = Stream([model.blocks for model in models], device, resident)
    around = [entry for model in models for entry in model.around()]
    hooks = []
    try:
        for owner, name, tensor in around:
            put(owner, name, rebuilt(tensor, iter([leaf.to(device) for leaf in leaves(tensor)])))
        for block in [block for model in models for block in model.blocks]:
            hooks += [_before(block, stream), _after(block, stream)]
        for table in [part for model in models for part in _tables(model)]:
            hooks += _looked_up_at_home(table, device)
        yield stream
    finally:
        for hook in hooks:
            hook.remove()
        stream.close()
        for block in [block for model in models for block in model.blocks]:
            block.leave()
            block.forget()
        for owner, name, tensor in around:
            put(owner, name, tensor)


def _before(block: Block, stream: Stream) -> Any:
    return block.module.register_forward_pre_hook(lambda *_: stream.arrive(block))


def _after(block: Block, stream: Stream) -> Any:
    return block.module.register_forward_hook(lambda *_: stream.depart(block))


def _tables(model: Streamed) -> Iterable[torch.nn.Embedding]:
    inside = {id(part) for block in model.blocks for part in block.module.modules()}
    return [part for part in model.module.modules() if isinstance(part, torch.nn.Embedding) and id(part) not in inside]


def _looked_up_at_home(table: torch.nn.Embedding, device: torch.device) -> list[Any]:
    """A table of gigabytes of which a text needs a few rows: those come to the device, not the table."""
    return [
        table.register_forward_pre_hook(lambda _, inputs: (inputs[0].to(table.weight.device), *inputs[1:])),
        table.register_forward_hook(lambda _, __, rows: rows.to(device)),
    ]


def _has_streams(device: torch.device) -> bool:
    """CUDA (ROCm calls itself so too) and XPU copy beside computing; elsewhere everything is in one order."""
    return device.type in ("cuda", "xpu")


def _spread(count: int, places: int) -> list[int]:
    """`count` of the indices below `places`, evenly: between two that stay there is time to bring others."""
    return [index * places // count for index in range(min(count, places))] if count < places else list(range(places))
