"""A block's pointwise operations over rows (m, width): kernels on a GPU, plain torch elsewhere, which means in tests.

All compute in fp32. Those that say `rounds` give their rows in int8, as a layer that multiplies in int8 takes them.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import torch
from torch.nn.functional import gelu as torch_gelu
from torch.nn.functional import layer_norm, rms_norm

from wan_pipeline.engine.attention.rotary import Rotary, turned
from wan_pipeline.engine.int8.product import quantized_rows
from wan_pipeline.engine.int8.rounded import Rounded


def has_kernels(device: torch.device) -> bool:
    """Whether the device runs the kernels: NVIDIA GPUs and ROCm, with triton installed."""
    return device.type == "cuda" and find_spec("triton") is not None


def norm_rows(
    rows: torch.Tensor, factor: torch.Tensor, offset: torch.Tensor, index: torch.Tensor, eps: float, *, rounds: bool
) -> torch.Tensor | Rounded:
    """`layer_norm(rows) * factor[index] + offset[index]`.

    Args:
        rows: (m, width), contiguous.
        factor: (n, width) in fp32, as is `offset`, with the same distance between rows.
        offset: what is added.
        index: (m,) int32, the row of both tables for each row.
        eps: of the norm.
        rounds: whether the result is in int8.
    """
    _by_rows(rows)
    if rows.is_cuda:
        from wan_pipeline.engine.fused import kernels  # here: triton is not installed everywhere

        return kernels.norm(rows, factor, offset, index, eps, rounds)
    normed = layer_norm(rows.float(), rows.shape[1:], eps=eps)
    return _made(torch.addcmul(offset[index], normed, factor[index]), rows.dtype, rounds)


def rms_rows(rows: torch.Tensor, norm: Any, rotary: Rotary | None, heads: int = 1) -> None:
    """RMS norm in place by the module `norm`; then the rotary embedding of each row's token, if it is given.

    Rows are the tokens of one clip after those of another; of each token the heads' channels are side by side.
    """
    eps = torch.finfo(rows.dtype).eps if norm.eps is None else norm.eps
    _by_rows(rows)
    if rows.is_cuda:
        from wan_pipeline.engine.fused import kernels  # here: triton is not installed everywhere

        kernels.rms(rows, norm.weight, eps, rotary)
        return
    normed = rms_norm(rows.float(), rows.shape[1:], norm.weight.float(), eps)
    if rotary is not None:
        cos, sin = rotary[0][..., 0::2], rotary[1][..., 1::2]
        normed = turned(normed.view(-1, cos.shape[1], normed.shape[1]), heads, cos, sin).flatten(0, 1)
    rows.copy_(normed)


def gelu_rows(rows: torch.Tensor, *, rounds: bool) -> torch.Tensor | Rounded:
    """GELU by its tanh formula (arXiv 1606.08415), as Wan's feed-forward layers compute it."""
    _by_rows(rows)
    if rows.is_cuda:
        from wan_pipeline.engine.fused import kernels  # here: triton is not installed everywhere

        return kernels.gelu(rows, rounds)
    return _made(torch_gelu(rows.float(), approximate="tanh"), rows.dtype, rounds)


def round_rows(rows: torch.Tensor) -> Rounded:
    """The rows in int8."""
    _by_rows(rows)
    if rows.is_cuda:
        from wan_pipeline.engine.fused import kernels  # here: triton is not installed everywhere

        return kernels.rounded(rows)
    return Rounded(*quantized_rows(rows), rows.dtype)


def add_rows(rows: torch.Tensor, update: torch.Tensor, gate: torch.Tensor | None, index: torch.Tensor) -> None:
    """`rows += update * gate[index]` in place; the gate is a table (n, width) in fp32, or None for 1."""
    _by_rows(rows)
    _by_rows(update)
    if rows.is_cuda:
        from wan_pipeline.engine.fused import kernels  # here: triton is not installed everywhere

        kernels.add(rows, update, gate, index)
        return
    rows.copy_(rows.float() + (update.float() if gate is None else update.float() * gate[index]))


def _by_rows(rows: torch.Tensor) -> None:
    """The kernels find a row by its number alone."""
    if not rows.is_contiguous():
        raise ValueError(f"rows of shape {tuple(rows.shape)} with strides {rows.stride()} do not follow each other")


def _made(values: torch.Tensor, dtype: torch.dtype, rounds: bool) -> torch.Tensor | Rounded:
    return Rounded(*quantized_rows(values), dtype) if rounds else values.to(dtype)
