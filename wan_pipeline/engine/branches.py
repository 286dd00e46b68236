"""Guidance on two devices: one computes the pass with the prompt while the other computes the pass without it.

Each device runs the kernels that one device alone would run for its pass, on the same shapes, and both passes are
combined on the first device as ever: where the devices are alike the bits are those of one device.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch

from wan_pipeline.engine.attention.backends import fixed_attention
from wan_pipeline.engine.device.placement import Placement
from wan_pipeline.engine.lora.experts import Adapters, applied_to_experts
from wan_pipeline.engine.memory.chunked_forward import chunked
from wan_pipeline.engine.memory.forwards import restoring_forwards
from wan_pipeline.engine.memory.inner_tensors import inner_tensors, named_tensors, rewrap
from wan_pipeline.planning.memory_plan import MemoryPlan
from wan_pipeline.requests.request import GenerationRequest

Forward = Callable[..., Any]


@dataclass(frozen=True)
class Twin:
    """Copies of a model's transformers on a second device, for one clip."""

    device: torch.device
    transformers: tuple[Any, ...]
    """In the model's own order."""


def why_one_device(request: GenerationRequest, second: Placement | None) -> str:
    """Why a plan's two branches cannot be on two devices; empty if they can."""
    if not request.guided_steps:
        return "the clip has no guidance"
    if request.step_cache:
        return "a step cache keeps its state on one"
    return "" if second else "no second one like it is free"


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
            stack.enter_context(chunked(copy, plan.chunk))
        yield twin


def _empty(copies: Sequence[torch.nn.Module]) -> None:
    for copy in copies:
        for module in copy.modules():
            module._parameters.clear()
            module._buffers.clear()


@contextmanager
def branches(
    transformers: tuple[Any, ...], twin: Twin | None, without_prompt: torch.Tensor | None, is_guided: Callable[[], bool]
) -> Iterator[None]:
    """Context manager: in guided steps the twin computes the pass without the prompt, in a thread of its own.

    `without_prompt` is the negative prompt's embedding, (1, tokens, width). `is_guided` says whether the step has both
    passes. An error of either device is raised in the caller's thread once both have ended.
    """
    if twin is None or without_prompt is None:
        yield
        return
    with ThreadPoolExecutor(1, "second-branch") as thread, restoring_forwards(transformers):
        for transformer, copy in zip(transformers, twin.transformers, strict=True):
            second = _Second(copy, twin.device, without_prompt, thread)
            transformer.forward = _Step(transformer, second, is_guided)
        yield


@dataclass(frozen=True)
class _Second:
    """The pass without the prompt, on the second device."""

    transformer: Any
    device: torch.device
    without_prompt: torch.Tensor
    thread: Executor

    def start(self, inputs: dict[str, Any]) -> Any:
        """The future of the pass whose counterpart, with the prompt, has these inputs.

        They are copied here, before the first device has anything to compute: a copy waits for what is queued there.
        """
        text = self.without_prompt.to(inputs["encoder_hidden_states"].dtype)
        given = {**inputs, "encoder_hidden_states": text}
        there = {
            name: value.to(self.device) if isinstance(value, torch.Tensor) else value for name, value in given.items()
        }
        return self.thread.submit(self._compute, there, torch.is_inference_mode_enabled())

    def _compute(self, inputs: dict[str, Any], in_inference: bool) -> Any:
        """Torch's inference mode and current device are each thread's own."""
        with torch.inference_mode(in_inference), _current(self.device):
            return self.transformer(**inputs)


class _Step:
    """A transformer's `forward`, which diffusers calls with the prompt, and without it in guided steps."""

    def __init__(self, transformer: Any, second: _Second, is_guided: Callable[[], bool]) -> None:
        self._forward: Forward = transformer.forward
        self._attention = fixed_attention(transformer)
        self._second = second
        self._is_guided = is_guided
        self._without_prompt: tuple[torch.Tensor, ...] | None = None
        """What the second device has computed for the call that comes next."""

    def __call__(self, **inputs: Any) -> tuple[torch.Tensor, ...]:
        if self._without_prompt is not None:
            there, self._without_prompt = self._without_prompt[0], None
            return (there.to(inputs["hidden_states"].device),)
        if not self._is_guided():
            return self._compute(inputs)
        with self._attention():
            future = self._second.start(inputs)
            try:
                output = self._compute(inputs)
            finally:
                wait([future])
        self._without_prompt = future.result()
        return output

    def _compute(self, inputs: dict[str, Any]) -> tuple[torch.Tensor, ...]:
        output: tuple[torch.Tensor, ...] = self._forward(**inputs)
        return output


def _current(device: torch.device) -> AbstractContextManager[Any]:
    """Context manager: the device is the thread's current one, which kernels of triton are launched on."""
    if device.type == "cpu":
        return nullcontext()
    current: AbstractContextManager[Any] = torch.get_device_module(device).device(device)
    return current
