"""Guidance on two devices: one computes the pass with the prompt while the other computes the pass without it.

Each device runs the kernels that one device alone would run for its pass, on the same shapes, and both passes are
combined on the first device as ever: where the devices are alike the bits are those of one device.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any

import torch

from wan_pipeline.engine.attention.backends import fixed_attention
from wan_pipeline.engine.memory.forwards import restoring_forwards
from wan_pipeline.engine.two_devices.second_pass import SecondPass
from wan_pipeline.engine.two_devices.twin import Twin

Forward = Callable[..., Any]


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
            second = SecondPass(copy, twin.device, thread)
            transformer.forward = _Step(transformer, second, without_prompt, is_guided)
        yield


class _Step:
    """A transformer's `forward`, which diffusers calls with the prompt, and without it in guided steps."""

    def __init__(
        self, transformer: Any, second: SecondPass, without_prompt: torch.Tensor, is_guided: Callable[[], bool]
    ) -> None:
        self._forward: Forward = transformer.forward
        self._attention = fixed_attention(transformer)
        self._second = second
        self._without_prompt = without_prompt
        self._is_guided = is_guided
        self._coming: tuple[torch.Tensor, ...] | None = None
        """What the second device has computed for the call that comes next."""

    def __call__(self, **inputs: Any) -> tuple[torch.Tensor, ...]:
        if self._coming is not None:
            there, self._coming = self._coming[0], None
            return (there.to(inputs["hidden_states"].device),)
        if not self._is_guided():
            return self._compute(inputs)
        with self._attention():
            text = self._without_prompt.to(inputs["encoder_hidden_states"].dtype)
            future = self._second.start({**inputs, "encoder_hidden_states": text})
            try:
                output = self._compute(inputs)
            finally:
                wait([future])
        self._coming = future.result()
        return output

    def _compute(self, inputs: dict[str, Any]) -> tuple[torch.Tensor, ...]:
        output: tuple[torch.Tensor, ...] = self._forward(**inputs)
        return output
