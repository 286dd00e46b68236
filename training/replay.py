"""A forward and backward pass replayed as a CUDA graph: with layers this small, kernel launches dominate a step."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

log = logging.getLogger(__name__)


class Replay:
    """Calls `run`, which returns a loss, and its backward pass; sets the gradients of `leaves` to those of this call.

    On a GPU the pass is captured once: `run` must read its inputs from fixed tensors, and the loss it returns is
    overwritten by the next call. Graphs that share a memory `pool` must not run at the same time.
    """

    def __init__(self, run: Callable[[], Tensor], leaves: Sequence[Tensor], device: str, pool: Any = None) -> None:
        self._run, self._leaves = run, list(leaves)
        self._graph: torch.cuda.CUDAGraph | None = None
        if device == "cuda":
            try:
                self._capture(pool)
            except RuntimeError:
                log.exception("CUDA graph capture failed; training runs without it")
                self._graph = None

    def __call__(self) -> Tensor:
        if self._graph is None:
            return self._pass()
        for leaf, grad in zip(self._leaves, self._grads, strict=True):
            leaf.grad = grad
        self._graph.replay()
        return self._loss

    def _pass(self) -> Tensor:
        for leaf in self._leaves:
            leaf.grad = None
        loss = self._run()
        torch.autograd.backward(loss)
        return loss.detach()

    def _capture(self, pool: Any) -> None:
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                self._pass()
        torch.cuda.current_stream().wait_stream(stream)
        for leaf in self._leaves:
            leaf.grad = None
        graph = torch.cuda.CUDAGraph()
        # thread_local: NCCL's watchdog thread may query the GPU during the capture.
        with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
            self._loss = self._pass()
        self._graph = graph
        self._grads = [leaf.grad for leaf in self._leaves]
