"""Training with the memory of one block's activations: the backward pass computes each block again from its input.

That is gradient checkpointing (arXiv 1604.06174), one block at a time, with two differences to torch's own: a block's
weights may be on the device only while it computes, and its input may wait in the machine's memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from types import MethodType
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear

from wan_pipeline.engine.memory.inner_tensors import blocks_of
from wan_pipeline.engine.memory.quantized_layers import DequantizedLinear, dequantized
from wan_pipeline.trainer.memory.stored_inputs import StoredInputs

Bound = Callable[[int], AbstractContextManager[None]]
"""Gives the context in which the block of that index has its weights on the device."""


@dataclass(frozen=True)
class _Run:
    """How one block computes: its own forward, where its weights and its input are."""

    index: int
    forward: Callable[..., Tensor]
    bound: Bound
    inputs: StoredInputs


class _Recomputed(torch.autograd.Function):
    """A block whose activations are not kept. Gradients of factors are added up where they belong on the way."""

    @staticmethod
    def forward(context: Any, anchor: Tensor, run: _Run, hidden: Tensor, *others: Any) -> Tensor:  # type: ignore[override]
        """`anchor` requires a gradient, so that the output does: neither the first block's input nor its weights do."""
        context.run, context.others = run, others
        run.inputs.store(run.index, hidden.detach())
        with run.bound(run.index):
            return run.forward(hidden, *others)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Any, ...]:  # type: ignore[override]
        run = context.run
        hidden = run.inputs.load(run.index).detach().requires_grad_()
        with run.bound(run.index), torch.enable_grad():
            output = run.forward(hidden, *context.others)
            torch.autograd.backward(output, gradient)
        return None, None, hidden.grad, *(None for _ in context.others)


@contextmanager
def recomputed(
    transformer: torch.nn.Module, inputs: StoredInputs, bound: Bound = lambda index: nullcontext()
) -> Iterator[None]:
    """Context manager: while gradients are recorded, the transformer keeps only the inputs of its blocks.

    Only a block's first argument has a gradient; the others, which come from frozen layers, have none.
    """
    blocks = blocks_of(transformer)
    anchor = torch.zeros((), requires_grad=True)
    try:
        for index, block in enumerate(blocks):
            run = _Run(index, block.forward, bound, inputs)
            block.forward = _recomputing(anchor, run)
        yield
    finally:
        for block in blocks:
            block.__dict__.pop("forward", None)


def _recomputing(anchor: Tensor, run: _Run) -> Callable[..., Tensor]:
    def forward(hidden: Tensor, *others: Any) -> Tensor:
        if not torch.is_grad_enabled():
            with run.bound(run.index):
                return run.forward(hidden, *others)
        output: Tensor = _Recomputed.apply(anchor, run, hidden, *others)  # type: ignore[no-untyped-call]
        return output

    return forward


class _Frozen(torch.autograd.Function):
    """A linear layer with a quantized weight, which is dequantized once more in the backward pass and never kept."""

    @staticmethod
    def forward(context: Any, inputs: Tensor, weight: Any, bias: Tensor | None) -> Tensor:  # type: ignore[override]
        context.weight = weight
        return linear(inputs, dequantized(weight), bias)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Any, ...]:  # type: ignore[override]
        return gradient @ dequantized(context.weight), None, None


@contextmanager
def differentiable(transformer: torch.nn.Module) -> Iterator[None]:
    """Context manager: quantized layers pass gradients on to their input, without keeping a dequantized weight."""
    layers: Sequence[DequantizedLinear] = [
        layer for layer in transformer.modules() if isinstance(layer, DequantizedLinear)
    ]
    try:
        for layer in layers:
            layer.forward = MethodType(_forward_frozen, layer)  # type: ignore[method-assign]
        yield
    finally:
        for layer in layers:
            layer.__dict__.pop("forward", None)


def _forward_frozen(layer: Any, inputs: Tensor) -> Tensor:
    output: Tensor = _Frozen.apply(inputs, layer.weight, layer.bias)  # type: ignore[no-untyped-call]
    return output
