"""LoRA adapters applied beside the weights, never merged into them, and removed without a trace."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from safetensors import SafetensorError, safe_open
from torch.nn.functional import linear

from wan_pipeline.engine.memory.alignment import aligned
from wan_pipeline.errors import LoraError
from wan_pipeline.lora.adapter import Adapter, Pair

ROWS = 16384
"""Tokens at a time: all at once would double a layer's output."""


@dataclass(frozen=True)
class LowRank:
    """The update of a linear layer's output: up @ down @ input + bias. Scales are already multiplied in."""

    down: torch.Tensor
    """(rank, inputs)."""
    up: torch.Tensor
    """(outputs, rank)."""
    bias: torch.Tensor | None = None
    """(outputs)."""

    def __call__(self, module: torch.nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
        """Add the update to the output, as a forward hook. Factors in host memory are copied to the output's device."""
        device = output.device
        down, up = self.down.to(device, non_blocking=True), self.up.to(device, non_blocking=True)
        bias = None if self.bias is None else self.bias.to(device, non_blocking=True)
        # some layers of a bf16 transformer are kept in fp32
        for part in _rows(output.shape[-2] if output.ndim > 1 else 1):
            rows = inputs[0][..., part, :] if output.ndim > 1 else inputs[0]
            update = linear(linear(rows.to(down.dtype), down), up, bias).to(output.dtype)
            (output[..., part, :] if output.ndim > 1 else output).add_(update)
        return output


Layers = dict[str, LowRank]
"""The updates of one adapter by the name of the linear layer."""


@dataclass(frozen=True)
class AdapterHome:
    """Where adapters are between forwards: on the device, or in host memory, pinned for faster copies to it."""

    device: torch.device
    dtype: torch.dtype
    pinned: bool = False

    def store(self, value: torch.Tensor) -> torch.Tensor:
        value = aligned(value.to(self.device, self.dtype))
        if not self.pinned:
            return value
        try:
            return value.pin_memory()
        except RuntimeError:  # over the system's limit; pageable memory is correct too, only slower
            return value


def read_weights(adapter: Adapter, home: AdapterHome) -> Layers:
    """The adapter's updates, times its weight, on its home device. Raises LoraError for values that are not numbers."""
    try:
        with safe_open(adapter.path, framework="pt") as file:
            return {module: _low_rank(adapter, file.get_tensor, pair, home) for module, pair in adapter.pairs.items()}
    except (SafetensorError, OSError) as error:
        raise LoraError(f"LoRA '{adapter.path.stem}' cannot be read: {error}; download or export it again.") from error


@contextmanager
def applied(transformer: torch.nn.Module, adapters: Sequence[Layers]) -> Iterator[None]:
    """Context manager: the transformer computes with the adapters, and afterwards bit for bit as before."""
    hooks = []
    try:
        for layers in adapters:
            for module, low_rank in layers.items():
                hooks.append(transformer.get_submodule(module).register_forward_hook(low_rank))
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _low_rank(adapter: Adapter, tensor: Callable[[str], torch.Tensor], pair: Pair, home: AdapterHome) -> LowRank:
    down, up = tensor(pair.down).float(), tensor(pair.up).float()
    alpha = float(tensor(pair.alpha_key)) if pair.alpha_key else pair.alpha
    scale = adapter.weight * (1.0 if alpha is None else alpha / pair.rank)
    up = up * scale
    bias = tensor(pair.bias_key).float() * adapter.weight if pair.bias_key else None
    values = (down, up) if bias is None else (down, up, bias)
    if not (math.isfinite(scale) and all(bool(torch.isfinite(value).all()) for value in values)):
        raise LoraError(
            f"LoRA '{adapter.path.stem}' holds values that are not numbers, in {pair.up}; download or export it again."
        )
    return LowRank(home.store(down), home.store(up), None if bias is None else home.store(bias))


def _rows(count: int) -> list[slice]:
    return [slice(start, start + ROWS) for start in range(0, count, ROWS)]
