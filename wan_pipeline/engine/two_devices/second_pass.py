"""A pass on the second device, in a thread of its own."""

from __future__ import annotations

from concurrent.futures import Executor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class SecondPass:
    """Passes of one transformer on the second device."""

    transformer: Any
    device: torch.device
    thread: Executor

    def start(self, inputs: dict[str, Any], within: AbstractContextManager[Any] | None = None) -> Any:
        """The future of the pass with these inputs, which is computed within the context.

        They are copied here, before the first device has anything to compute: a copy waits for what is queued there.
        """
        there = {
            name: value.to(self.device) if isinstance(value, torch.Tensor) else value for name, value in inputs.items()
        }
        return self.thread.submit(self._compute, there, within or nullcontext(), torch.is_inference_mode_enabled())

    def _compute(self, inputs: dict[str, Any], within: AbstractContextManager[Any], in_inference: bool) -> Any:
        """Torch's inference mode and current device are each thread's own."""
        with within, torch.inference_mode(in_inference), _current(self.device):
            return self.transformer(**inputs)


def _current(device: torch.device) -> AbstractContextManager[Any]:
    """Context manager: the device is the thread's current one, which kernels of triton are launched on."""
    if device.type == "cpu":
        return nullcontext()
    current: AbstractContextManager[Any] = torch.get_device_module(device).device(device)
    return current
