"""Deterministic mode: fixes what torch otherwise chooses by speed, by hardware or by load."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from wan_pipeline.errors import GenerationError

CUBLAS = "CUBLAS_WORKSPACE_CONFIG"
"""With a fixed workspace cuBLAS sums in a fixed order; torch requires it for deterministic algorithms."""

ATTENTION = [SDPBackend.FLASH_ATTENTION, SDPBackend.MATH]
"""Flash attention where the device has it, else the plain formula. Both repeat their bits; among more backends torch
might choose another one on the next machine."""


@contextmanager
def deterministic(threads: int | None) -> Iterator[None]:
    """Context manager: deterministic algorithms, no TF32, one order of attention backends, this many CPU threads.

    None keeps the number of threads. Raises GenerationError for an operation that has no deterministic form.
    """
    with ExitStack() as stack:
        stack.enter_context(_clear_refusals())
        stack.enter_context(_environment(CUBLAS, ":4096:8"))
        stack.enter_context(_threads(threads or torch.get_num_threads()))
        stack.enter_context(_deterministic_algorithms())
        stack.enter_context(_without_tf32())
        stack.enter_context(
            torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
        )
        stack.enter_context(sdpa_kernel(ATTENTION, set_priority=True))
        yield


@contextmanager
def _clear_refusals() -> Iterator[None]:
    """Turn torch's refusal of an operation into a GenerationError."""
    try:
        yield
    except RuntimeError as error:
        operation, refused, _ = str(error).partition(" does not have a deterministic implementation")
        if not refused:
            raise
        raise GenerationError(
            f"Deterministic mode is not possible here: {operation} has no deterministic form on this device; "
            "make the clip without deterministic mode."
        ) from error


@contextmanager
def _deterministic_algorithms() -> Iterator[None]:
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


@contextmanager
def _without_tf32() -> Iterator[None]:
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
