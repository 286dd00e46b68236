"""Copies of blocks into buffers on the device, ordered with what computes there."""

from __future__ import annotations

from collections import deque
from typing import Any

import torch

from wan_pipeline.engine.memory.block_buffer import Block, BlockBuffer, host_memory
from wan_pipeline.planning.transformer import RING_BLOCKS


class BlockCopier:
    """Copies on a stream of its own where the device has streams, else in program order."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.Stream(device) if has_streams(device) else None
        self._staging: deque[BlockBuffer] = deque()
        """Pinned memory on the way from a mapped file to the device."""

    def device_buffer(self, size: int) -> BlockBuffer:
        """A buffer of `size` bytes on the device."""
        buffer = BlockBuffer(torch.empty(size, dtype=torch.uint8, device=self._device))
        self.release(buffer)
        return buffer

    def allocate_staging(self, size: int) -> None:
        """Host memory for blocks whose home is a mapped file."""
        pinned = self._stream is not None
        self._staging = deque(BlockBuffer(host_memory(size, pinned)) for _ in range(RING_BLOCKS))

    def copy(self, block: Block, buffer: BlockBuffer) -> None:
        """Queue the copy of a block and what it carries into a buffer, after all that computes with the buffer now."""
        buffer.block = block
        if self._stream is not None:
            self._stream.wait_event(buffer.free)
        buffer.ready = self._queue(block, buffer.slab)
        if block.carried:
            buffer.ready = self._queue(block.carried, buffer.slab[block.nbytes :])

    def wait_for(self, buffer: BlockBuffer) -> None:
        """Let what is queued on the device from now on wait for the copy into the buffer."""
        if self._stream is not None and buffer.ready is not None:
            torch.accelerator.current_stream(self._device).wait_event(buffer.ready)

    def release(self, buffer: BlockBuffer) -> None:
        """Let the next copy into the buffer wait for what has been queued on the device so far."""
        if self._stream is not None:
            buffer.free = torch.accelerator.current_stream(self._device).record_event()

    def synchronize(self) -> None:
        """Wait for the copies in flight, so that their memory can be released."""
        if self._stream is not None:
            self._stream.synchronize()

    def _queue(self, block: Block, slab: torch.Tensor) -> Any:
        """Queue one copy, and return the event of its end; None where there are no streams."""
        source, target = self._host_buffer(block), slab[: block.nbytes]
        if self._stream is None:
            target.copy_(source.slab[: block.nbytes])
            return None
        with self._stream:
            target.copy_(source.slab[: block.nbytes], non_blocking=True)
        source.ready = self._stream.record_event()
        return source.ready

    def _host_buffer(self, block: Block) -> BlockBuffer:
        """The block's home slab, or a staging buffer that its tensors were just read into."""
        if block.home_slab is not None:
            return BlockBuffer(block.home_slab)
        staging = self._staging[0]
        self._staging.rotate(-1)
        if staging.ready is not None:
            staging.ready.synchronize()  # its last block is still being copied to the device
        block.copy_to(staging.slab)
        return staging


def has_streams(device: torch.device) -> bool:
    """CUDA (which ROCm also calls itself) and XPU copy while they compute; other devices run in program order."""
    return device.type in ("cuda", "xpu")
