"""Where the blocks' inputs wait between the forward and the backward pass."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from wan_pipeline.engine.memory.block_copies import has_streams


class StoredInputs(Protocol):
    """Takes the input of each block in forward order, and gives them back from last to first."""

    def store(self, block: int, value: Tensor) -> None: ...

    def load(self, block: int) -> Tensor: ...


class DeviceInputs:
    """They stay on the device."""

    def __init__(self) -> None:
        self._values: dict[int, Tensor] = {}

    def store(self, block: int, value: Tensor) -> None:
        self._values[block] = value

    def load(self, block: int) -> Tensor:
        return self._values.pop(block)


@dataclass
class _Copy:
    """A tensor on its way, with the event of its arrival. `source` is kept until then."""

    target: Tensor
    source: Tensor
    arrived: Any = None


@dataclass
class HostInputs:
    """They are copied to the machine's memory, pinned, while blocks compute, and back one block ahead.

    The host's buffers are kept from step to step.
    """

    device: torch.device
    _buffers: dict[int, Tensor] = field(default_factory=dict)
    _leaving: dict[int, _Copy] = field(default_factory=dict)
    _coming: dict[int, _Copy] = field(default_factory=dict)

    def __post_init__(self) -> None:
        streams = has_streams(self.device)
        self._out, self._in = (torch.Stream(self.device) if streams else None for _ in range(2))

    def store(self, block: int, value: Tensor) -> None:
        self._forget_arrived()
        buffer = self._buffers.get(block)
        if buffer is None or buffer.shape != value.shape or buffer.dtype != value.dtype:
            buffer = torch.empty(value.shape, dtype=value.dtype, pin_memory=self._out is not None)
            self._buffers[block] = buffer
        self._leaving[block] = self._copied(value, buffer, self._out)

    def load(self, block: int) -> Tensor:
        if (left := self._leaving.pop(block, None)) is not None:  # the last ones are still there
            return left.source
        coming = self._coming.pop(block, None) or self._fetch(block)
        if block - 1 in self._buffers and block - 1 not in self._leaving:
            self._coming[block - 1] = self._fetch(block - 1)
        if coming.arrived is not None:
            torch.accelerator.current_stream(self.device).wait_event(coming.arrived)
        return coming.target

    def _fetch(self, block: int) -> _Copy:
        buffer = self._buffers[block]
        return self._copied(buffer, torch.empty_like(buffer, device=self.device), self._in)

    def _copied(self, source: Tensor, target: Tensor, stream: torch.Stream | None) -> _Copy:
        if stream is None:
            target.copy_(source)
            return _Copy(target, source)
        stream.wait_event(torch.accelerator.current_stream(self.device).record_event())
        with stream:
            target.copy_(source, non_blocking=True)
        return _Copy(target, source, stream.record_event())

    def _forget_arrived(self) -> None:
        """Release the device's memory of inputs that have left it."""
        for block in [key for key, copy in self._leaving.items() if copy.arrived is None or copy.arrived.query()]:
            self._leaving.pop(block)
