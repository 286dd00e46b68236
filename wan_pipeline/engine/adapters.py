"""Adapters at work: beside the weights, never in them, and gone without a trace afterwards."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from safetensors import SafetensorError, safe_open
from torch.nn.functional import linear

from wan_pipeline.errors import LoraError
from wan_pipeline.lora.adapter import Adapter, Pair

ROWS = 16384
"""Tokens at a time: all at once would be another activation of the model."""


@dataclass(frozen=True)
class LowRank:
    """What is added to a linear layer's output: up @ down @ input + bias, all factors already in `up` and `bias`."""

    down: torch.Tensor
    up: torch.Tensor
    bias: torch.Tensor | None = None

    def __call__(self, module: torch.nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
        """The form of a forward hook. What waits in the machine's memory travels to where the layer computes."""
        device = output.device
        down, up = self.down.to(device, non_blocking=True), self.up.to(device, non_blocking=True)
        bias = None if self.bias is None else self.bias.to(device, non_blocking=True)
        # some layers of a bf16 transformer are kept in fp32
        for part in _rows(output.shape[-2] if output.ndim > 1 else 1):
            rows = inputs[0][..., part, :] if output.ndim > 1 else inputs[0]
            added = linear(linear(rows.to(down.dtype), down), up, bias).to(output.dtype)
            (output[..., part, :] if output.ndim > 1 else output).add_(added)
        return output


def _rows(count: int) -> list[slice]:
    return [slice(start, start + ROWS) for start in range(0, count, ROWS)]


def read_weights(adapter: Adapter, home: torch.device, dtype: torch.dtype) -> dict[str, LowRank]:
    """By module, times the adapter's weight, on `home`: the device, or the machine's memory, from where they travel.

    Raises LoraError for values that are not numbers.
    """
    try:
        with safe_open(adapter.path, framework="pt") as file:
            return {
                module: _low_rank(adapter, file.get_tensor, pair, home, dtype) for module, pair in adapter.pairs.items()
            }
    except (SafetensorError, OSError) as error:
        raise LoraError(f"LoRA '{adapter.path.stem}' cannot be read: {error}; download or export it again.") from error


@contextmanager
def applied(transformer: torch.nn.Module, adapters: Sequence[dict[str, LowRank]]) -> Iterator[None]:
    """Within the block the transformer computes with the adapters; after it, bit for bit as before."""
    hooks = []
    try:
        for layers in adapters:
            for module, low_rank in layers.items():
                hooks.append(transformer.get_submodule(module).register_forward_hook(low_rank))
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _low_rank(
    adapter: Adapter,
    tensor: Callable[[str], torch.Tensor],
    pair: Pair,
    home: torch.device,
    dtype: torch.dtype,
) -> LowRank:
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
    return LowRank(_at(home, dtype, down), _at(home, dtype, up), None if bias is None else _at(home, dtype, bias))


def _at(home: torch.device, dtype: torch.dtype, value: torch.Tensor) -> torch.Tensor:
    """In the machine's memory it is pinned where that speeds its travels."""
    value = value.to(home, dtype)
    if home.type != "cpu" or not torch.cuda.is_available():
        return value
    try:
        return value.pin_memory()
    except RuntimeError:  # the system's limit; unpinned memory is right too, only slower
        return value
