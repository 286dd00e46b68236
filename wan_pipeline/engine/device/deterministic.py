"""One way to compute only: what torch otherwise chooses by speed, by hardware or by load is pinned."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from wan_pipeline.errors import GenerationError

CUBLAS = "CUBLAS_WORKSPACE_CONFIG"
"""With a fixed workspace cuBLAS adds in a fixed order; torch insists on it for deterministic algorithms."""

ATTENTION = [SDPBackend.FLASH_ATTENTION, SDPBackend.MATH]
"""Flash wherever it can, else the plain formula: both give the same bits each time. Torch's own choice between more of
them may be another on the next machine."""


@contextmanager
def pinned(threads: int | None) -> Iterator[None]:
    """Within the block: deterministic algorithms, no TF32, attention in a fixed order, and so many CPU threads.

    `threads` None leaves them as they are. An operation that has no deterministic form raises GenerationError.
    """
    with ExitStack() as stack:
        stack.enter_context(_refusals_in_words())
        stack.enter_context(_environment(CUBLAS, ":4096:8"))
        stack.enter_context(_threads(threads or torch.get_num_threads()))
        stack.enter_context(_deterministic())
        stack.enter_context(_plain_matmul())
        stack.enter_context(
            torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
        )
        stack.enter_context(sdpa_kernel(ATTENTION, set_priority=True))
        yield


@contextmanager
def _refusals_in_words() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        operation, refused, _ = str(error).partition(" does not have a deterministic implementation")
        if not refused:
            raise
        raise GenerationError(
            f"Strict mode cannot be kept: {operation} has no repeatable form on this device; make the clip without it."
        ) from error


@contextmanager
def _deterministic() -> Iterator[None]:
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


@contextmanager
def _plain_matmul() -> Iterator[None]:
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = before
