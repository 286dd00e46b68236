"""The tokens of each pass on two devices, half of them each.

All but self-attention treats each token by itself, so each device computes it for its own tokens. The patch, time and
text embeddings, which are small, are computed on both. Products of fewer rows may round otherwise: the bits are not
those of one device.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import torch

from wan_pipeline.engine.attention.backends import fixed_attention
from wan_pipeline.engine.attention.exchange import PeerFailed, Side, exchange
from wan_pipeline.engine.attention.split_heads import splitting_heads
from wan_pipeline.engine.memory.forwards import restoring_forwards
from wan_pipeline.engine.two_devices.second_pass import SecondPass
from wan_pipeline.engine.two_devices.twin import Twin

PATCH_EMBEDDINGS = ("patch_embedding", "vace_patch_embedding")


@contextmanager
def split_tokens(transformers: tuple[Any, ...], device: torch.device, twin: Twin) -> Iterator[None]:
    """Context manager: the transformers, which are on the device, compute each pass together with the twin.

    Chunked forwards must call the last projection once (`whole_head`). An error of either device is raised in the
    caller's thread once both have ended; then this context is of no more use.
    """
    with (
        exchange(device, twin.device) as (first, second),
        ThreadPoolExecutor(1, "second-half") as thread,
        restoring_forwards(transformers),
        ExitStack() as stack,
    ):
        for transformer, copy in zip(transformers, twin.transformers, strict=True):
            stack.enter_context(_computing_part(transformer, first))
            stack.enter_context(_computing_part(copy, second))
            transformer.forward = _Pass(transformer, first, SecondPass(copy, twin.device, thread), second)
        yield


class _Pass:
    """A transformer's `forward`."""

    def __init__(self, transformer: Any, first: Side, second_pass: SecondPass, second: Side) -> None:
        self._forward = transformer.forward
        self._attention = fixed_attention(transformer)
        self._first = first
        self._second_pass = second_pass
        self._second = second

    def __call__(self, **inputs: Any) -> Any:
        output = None
        with self._attention():
            future = self._second_pass.start(_part(inputs, self._second), self._second.failing_together())
            try:
                with suppress(PeerFailed), self._first.failing_together():
                    output = self._forward(**_part(inputs, self._first))
            finally:
                wait([future])
        future.result()  # raises what the peer failed by
        return output


@contextmanager
def _computing_part(transformer: Any, side: Side) -> Iterator[None]:
    """Context manager: the transformer computes this side's tokens, and its last projection gives those of both."""

    def own_patches(module: Any, inputs: Any, output: torch.Tensor) -> torch.Tensor:
        tokens = output.flatten(2)
        return tokens[:, :, side.own(tokens.shape[2])]

    def own_rotary(module: Any, inputs: Any, output: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        return tuple(part[:, side.own(part.shape[1])] for part in output)

    def all_rows(module: Any, inputs: Any, output: torch.Tensor) -> torch.Tensor:
        (theirs,) = side.swap([side.parcel(output.contiguous())])
        (rows,), ready = side.join(theirs, output)
        side.wait_for(ready)
        return rows

    embeddings = [module for name, module in transformer.named_children() if name in PATCH_EMBEDDINGS]
    with splitting_heads(transformer, side), ExitStack() as stack:
        for embedding in embeddings:
            stack.callback(embedding.register_forward_hook(own_patches).remove)
        stack.callback(transformer.rope.register_forward_hook(own_rotary).remove)
        stack.callback(transformer.proj_out.register_forward_hook(all_rows).remove)
        yield


def _part(inputs: dict[str, Any], side: Side) -> dict[str, Any]:
    """A side's inputs: its part of per-token timesteps."""
    times = inputs["timestep"]
    return {**inputs, "timestep": times[:, side.own(times.shape[1])]} if times.ndim == 2 else inputs
