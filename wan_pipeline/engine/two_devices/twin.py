"""Copies of a model's transformers on a second device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch

from wan_pipeline.engine.device.placement import Placement
from wan_pipeline.engine.int8.exact import exact_layers
from wan_pipeline.engine.lora.experts import Adapters, applied_to_experts
from wan_pipeline.engine.memory.chunked_forward import chunked
from wan_pipeline.engine.memory.inner_tensors import inner_tensors, named_tensors, rewrap
from wan_pipeline.planning.memory_plan import MemoryPlan
from wan_pipeline.requests.request import GenerationRequest


@dataclass(frozen=True)
class Twin:
    """Copies of a model's transformers on a second device, for one clip."""

    device: torch.device
    transformers: tuple[Any, ...]
    """In the model's own order."""


def why_one_device(plan: MemoryPlan, request: GenerationRequest, second: Placement | None) -> str:
    """That one device made the clip of a plan for two, and why; empty if it did not have to."""
    if plan.devices.is_one:
        return ""
    if plan.branches > 1 and not request.guided_steps:
        reason = "the clip has no guidance"
    elif request.step_cache:
        reason = "a step cache keeps its state on one"
    elif second is None:
        reason = "no second one like it is free"
    else:
        return ""
    shared = (
        "both branches of the plan, to the same bits" if plan.branches > 1 else "all tokens, so the bits are others"
    )
    return f"One device computed {shared}, because {reason}."


def copy_to(module: torch.nn.Module, device: torch.device) -> torch.nn.Module:
    """A copy of a module whose tensors are on the device, with quantized weights packed as they are."""
    copies: dict[int, Any] = {}
    for _, _, tensor in named_tensors(module):
        inner = iter([part.to(device, copy=True) for part in inner_tensors(tensor)])
        copy = rewrap(tensor, inner)
        is_parameter = isinstance(tensor, torch.nn.Parameter)
        copies[id(tensor)] = torch.nn.Parameter(copy, requires_grad=False) if is_parameter else copy
    return deepcopy(module, copies)  # takes what is in `copies` instead of copying it


@contextmanager
def copied(transformers: tuple[Any, ...], adapters: Adapters, plan: MemoryPlan, device: torch.device) -> Iterator[Twin]:
    """Context manager: copies on a second device, with the adapters, set up by the plan as the transformers are.

    At the end they hold no memory of it, whatever still refers to them.
    """
    with ExitStack() as stack:
        copies: list[torch.nn.Module] = []
        stack.callback(_empty, copies)
        copies.extend(copy_to(transformer, device) for transformer in transformers)
        twin = Twin(device, tuple(copies))
        stack.enter_context(applied_to_experts(twin.transformers, adapters, merged=plan.lora == "merged"))
        for copy in twin.transformers:
            stack.enter_context(exact_layers(copy, plan.exact))
            stack.enter_context(chunked(copy, plan.chunk, fused=plan.fused, whole_head=plan.split > 1))
        yield twin


def _empty(copies: Sequence[torch.nn.Module]) -> None:
    for copy in copies:
        for module in copy.modules():
            module._parameters.clear()
            module._buffers.clear()
