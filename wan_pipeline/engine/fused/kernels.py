"""Triton kernels of a block's pointwise operations. Each reads a row once, computes in fp32, and writes it once.

Where a layer that multiplies in int8 comes next, the row is written in int8 with its scale, and never in 16 bits.
Imported only where it runs.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from wan_pipeline.engine.int8.rounded import LONGEST_ROW, Rounded

ROWS = 16
"""Rows that a program norms one after another."""


@triton.jit
def _store(value, out, scales, row, column, width, ROUNDS: tl.constexpr):
    """A row in int8 with its scale, or in the dtype of `out`. What is beyond the width must be 0."""
    if ROUNDS:
        peak = tl.maximum(tl.max(tl.abs(value), 0), 1e-12)
        tl.store(scales + row, peak * (1 / 127))
        # adding and taking away 1.5 * 2**23 rounds to the nearest whole number; a division for each would take longer
        # than the memory does
        value = (value * (127 / peak) + 12582912.0) - 12582912.0
    tl.store(out + row * width + column, value.to(out.dtype.element_ty), mask=column < width)


@triton.jit
def _norm(
    rows, factor, offset, index, out, scales, count, width, step, eps,
    BLOCK: tl.constexpr, ROUNDS: tl.constexpr, IS_SHARED: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """Layer norm of some rows, each times and plus the rows of two tables that `index` names.

    Where all rows share them, which is so but for TI2V, they stay in registers from row to row.
    """
    first, column = tl.program_id(0).to(tl.int64) * ROWS, tl.arange(0, BLOCK)
    inside = column < width
    if IS_SHARED:
        times = tl.load(factor + column, mask=inside, other=0.0)
        plus = tl.load(offset + column, mask=inside, other=0.0)
    following = tl.load(rows + first * width + column, mask=inside, other=0.0)
    for number in range(ROWS):
        row, value = tl.minimum(first + number, count - 1), following.to(tl.float32)  # the last one again, if need be
        # is on its way while this row is computed
        following = tl.load(rows + tl.minimum(row + 1, count - 1) * width + column, mask=inside, other=0.0)
        value = tl.where(inside, value - tl.sum(value, 0) / width, 0.0)
        value *= tl.rsqrt(tl.sum(value * value, 0) / width + eps)
        if not IS_SHARED:
            at = tl.load(index + row) * step + column
            times = tl.load(factor + at, mask=inside, other=0.0)
            plus = tl.load(offset + at, mask=inside, other=0.0)
        _store(value * times + plus, out, scales, row, column, width, ROUNDS)


@triton.jit
def _rms(
    rows, weight, cos, sin, tokens, width, eps, BLOCK: tl.constexpr, HEAD: tl.constexpr, TURNS: tl.constexpr
):  # fmt: skip
    """RMS norm of a row in place; then neighbouring channels are turned by the angles of its token."""
    row, column = tl.program_id(0).to(tl.int64), tl.arange(0, BLOCK)
    inside = column < width
    value = tl.load(rows + row * width + column, mask=inside, other=0.0).to(tl.float32)
    value *= tl.rsqrt(tl.sum(value * value, 0) / width + eps)
    value *= tl.load(weight + column, mask=inside, other=0.0).to(tl.float32)
    if TURNS:
        even, odd = tl.split(tl.reshape(value, (BLOCK // 2, 2)))
        # both tables hold each number twice, for the two channels that it turns
        at = (row % tokens) * HEAD + (tl.arange(0, BLOCK // 2) % (HEAD // 2)) * 2
        c, s = tl.load(cos + at).to(tl.float32), tl.load(sin + at + 1).to(tl.float32)
        value = tl.reshape(tl.join(even * c - odd * s, even * s + odd * c), (BLOCK,))
    tl.store(rows + row * width + column, value.to(rows.dtype.element_ty), mask=inside)


@triton.jit
def _gelu(rows, out, scales, width, BLOCK: tl.constexpr, ROUNDS: tl.constexpr):
    """GELU by its tanh formula, which is `x * sigmoid(2 u)`."""
    row, column = tl.program_id(0).to(tl.int64), tl.arange(0, BLOCK)
    value = tl.load(rows + row * width + column, mask=column < width, other=0.0).to(tl.float32)
    value *= tl.sigmoid(1.5957691216057308 * (value + 0.044715 * value * value * value))
    _store(value, out, scales, row, column, width, ROUNDS)


@triton.jit
def _round(rows, out, scales, width, BLOCK: tl.constexpr):
    """A row to int8."""
    row, column = tl.program_id(0).to(tl.int64), tl.arange(0, BLOCK)
    value = tl.load(rows + row * width + column, mask=column < width, other=0.0).to(tl.float32)
    _store(value, out, scales, row, column, width, True)


@triton.jit
def _add(rows, update, gate, index, width, step, BLOCK: tl.constexpr, GATED: tl.constexpr):
    """Add an update to a row in place, times the gate that `index` names."""
    row, column = tl.program_id(0).to(tl.int64), tl.arange(0, BLOCK)
    inside, at = column < width, row * width + column
    value = tl.load(update + at, mask=inside, other=0.0).to(tl.float32)
    if GATED:
        value *= tl.load(gate + tl.load(index + row) * step + column, mask=inside, other=0.0)
    value += tl.load(rows + at, mask=inside, other=0.0).to(tl.float32)
    tl.store(rows + at, value.to(rows.dtype.element_ty), mask=inside)


def norm(
    rows: torch.Tensor, factor: torch.Tensor, offset: torch.Tensor, index: torch.Tensor, eps: float, rounds: bool
) -> torch.Tensor | Rounded:
    """See `pointwise.norm_rows`."""
    out = _Output(rows, rounds)
    with torch.cuda.device(rows.device):
        _norm[(triton.cdiv(rows.shape[0], ROWS),)](
            rows, factor, offset, index, out.values, out.scales, *rows.shape, factor.stride(0), eps,
            IS_SHARED=factor.shape[0] == 1, ROWS=ROWS, **out.how,
        )  # fmt: skip
    return out.made


def rms(rows: torch.Tensor, weight: torch.Tensor, eps: float, rotary: tuple[torch.Tensor, torch.Tensor] | None) -> None:
    """See `pointwise.rms_rows`."""
    cos, sin = (table.contiguous() for table in rotary or (weight, weight))
    width, head = rows.shape[1], cos.shape[-1] if rotary else 2
    with torch.cuda.device(rows.device):
        _rms[(rows.shape[0],)](
            rows, weight, cos, sin, cos.shape[1] if rotary else 1, width, eps,
            HEAD=head, TURNS=rotary is not None, **_sizes(width),
        )  # fmt: skip


def gelu(rows: torch.Tensor, rounds: bool) -> torch.Tensor | Rounded:
    """See `pointwise.gelu_rows`."""
    out = _Output(rows, rounds)
    with torch.cuda.device(rows.device):
        _gelu[(rows.shape[0],)](rows, out.values, out.scales, rows.shape[1], **out.how)
    return out.made


def rounded(rows: torch.Tensor) -> Rounded:
    """See `pointwise.round_rows`."""
    out = _Output(rows, rounds=True)
    with torch.cuda.device(rows.device):
        _round[(rows.shape[0],)](rows, out.values, out.scales, rows.shape[1], **_sizes(rows.shape[1]))
    return Rounded(out.values, out.scales, rows.dtype)


def add(rows: torch.Tensor, update: torch.Tensor, gate: torch.Tensor | None, index: torch.Tensor) -> None:
    """See `pointwise.add_rows`."""
    table, width = rows if gate is None else gate, rows.shape[1]
    with torch.cuda.device(rows.device):
        _add[(rows.shape[0],)](
            rows, update, table, index, width, table.stride(0), GATED=gate is not None, **_sizes(width)
        )


class _Output:
    """Where a kernel writes rows: in int8 with their scales, or in the dtype that they have."""

    def __init__(self, rows: torch.Tensor, rounds: bool) -> None:
        self.values = torch.empty_like(rows, dtype=torch.int8 if rounds else rows.dtype)
        self.scales = rows.new_empty(rows.shape[0] if rounds else 1, dtype=torch.float32)
        self.made = Rounded(self.values, self.scales, rows.dtype) if rounds else self.values
        self.how = {"ROUNDS": rounds, **_sizes(rows.shape[1])}


def _sizes(width: int) -> dict[str, int]:
    block = triton.next_power_of_2(width)
    assert block <= LONGEST_ROW, width  # noqa: S101 - `suits` asks before
    return {"BLOCK": block, "num_warps": 8 if block > 4096 else 4}
