"""Triton kernels of int8 products, for NVIDIA GPUs from Turing on and for ROCm. Imported only where they run.

A product is accumulated in int32 in registers, and leaves them dequantized and with its bias: no int32 output is ever
written to memory. Integer sums are exact, so tile sizes decide the speed alone and never a bit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import triton
import triton.language as tl
from triton.tools.tensor_descriptor import TensorDescriptor

HOPPER = 9
"""Major compute capability of GPUs whose unit for tensors (TMA) copies the tiles."""
HOPPER_TILE = {"ROWS": 128, "COLUMNS": 256, "DEPTH": 128, "num_warps": 8, "num_stages": 3}
"""Measured on an H100: 1,180 to 1,250 TOPS at the shapes of the 14B model, where bf16 reaches 840 to 870."""
ALIGNMENT = 16
"""Bytes that TMA asks of addresses and of the distance between rows."""
GROUP = 8
"""Rows of tiles that are computed together, so that tiles of weights are found in the cache."""


def _fitting(tiles: list[triton.Config], arguments: dict[str, Any], **_: Any) -> list[triton.Config]:
    """The tiles that the shared memory of this GPU holds; on Turing the least, which it copies without a pipeline."""
    facts = torch.cuda.get_device_properties(arguments["left"].device)
    room = getattr(facts, "shared_memory_per_block_optin", 0) or 64 * 1024
    fitting = [tile for tile in tiles if _shared_memory(tile) <= room]
    return fitting or [min(tiles, key=_shared_memory)]


def _shared_memory(tile: triton.Config) -> int:
    sizes = tile.kwargs
    return int(tile.num_stages * (sizes["ROWS"] + sizes["COLUMNS"]) * sizes["DEPTH"])


def _milliseconds(call: Callable[[], None], quantiles: Any) -> list[float]:
    """How triton compares tiles here: its own way fills 256 MB of the device's memory."""
    call()
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    for _ in range(3):
        call()
    end.record()
    end.synchronize()
    return [begin.elapsed_time(end)] * len(quantiles)


TILES = [
    triton.Config({"ROWS": rows, "COLUMNS": columns, "DEPTH": depth}, num_warps=warps, num_stages=stages)
    for rows, columns, depth, warps, stages in (
        (128, 256, 128, 8, 3),
        (128, 128, 128, 8, 3),
        (128, 128, 64, 4, 4),
        (128, 128, 64, 8, 2),
        (64, 128, 64, 4, 3),
    )
]
"""The fastest is found when a shape of weights is first used on a device."""


@triton.jit
def _tile(number, tiles_m, tiles_n, GROUP: tl.constexpr):
    """Row and column of a tile."""
    per_group = GROUP * tiles_n
    first = (number // per_group) * GROUP
    size = min(tiles_m - first, GROUP)
    return first + (number % per_group) % size, (number % per_group) // size


@triton.jit
def _dequantized(total, row_scale, scale, bias, row, column, m, n, HAS_BIAS: tl.constexpr):
    """`total * row_scale * scale + bias` in fp32."""
    value = total.to(tl.float32) * tl.load(row_scale + row, mask=row < m, other=0.0)[:, None]
    value = value * tl.load(scale + column, mask=column < n, other=0.0).to(tl.float32)[None, :]
    if HAS_BIAS:
        value += tl.load(bias + column, mask=column < n, other=0.0).to(tl.float32)[None, :]
    return value


@triton.autotune(TILES, key=["n", "k"], prune_configs_by={"early_config_prune": _fitting}, do_bench=_milliseconds)
@triton.jit
def _product(
    left, right, out, row_scale, scale, bias, m, n, k,
    HAS_BIAS: tl.constexpr, GROUP: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, DEPTH: tl.constexpr,
):  # fmt: skip
    """One tile of `left (m, k) @ right (n, k).T`, dequantized. All are contiguous."""
    at_m, at_n = _tile(tl.program_id(0), tl.cdiv(m, ROWS), tl.cdiv(n, COLUMNS), GROUP)
    row, column, depth = at_m * ROWS + tl.arange(0, ROWS), at_n * COLUMNS + tl.arange(0, COLUMNS), tl.arange(0, DEPTH)
    # rows beyond the end read the first ones again, which needs no mask; their results are not written
    a = left + (row % m).to(tl.int64)[:, None] * k + depth[None, :]
    b = right + (column % n).to(tl.int64)[None, :] * k + depth[:, None]
    total = tl.zeros((ROWS, COLUMNS), tl.int32)
    for start in range(0, k, DEPTH):
        inside = depth < k - start
        left_tile = tl.load(a, mask=inside[None, :], other=0)
        total = tl.dot(left_tile, tl.load(b, mask=inside[:, None], other=0), total, out_dtype=tl.int32)
        a += DEPTH
        b += DEPTH
    value = _dequantized(total, row_scale, scale, bias, row, column, m, n, HAS_BIAS)
    target = out + row.to(tl.int64)[:, None] * n + column[None, :]
    tl.store(target, value.to(out.dtype.element_ty), mask=(row < m)[:, None] & (column < n)[None, :])


@triton.jit
def _product_by_tma(
    left, right, out, row_scale, scale, bias, m, n, k, PROGRAMS: tl.constexpr,
    HAS_BIAS: tl.constexpr, GROUP: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, DEPTH: tl.constexpr,
):  # fmt: skip
    """The same from descriptors, which read zeros beyond the end and write nothing there.

    Each program multiplies tile after tile, and copies the next one while it dequantizes.
    """
    tiles_m, tiles_n = tl.cdiv(m, ROWS), tl.cdiv(n, COLUMNS)
    for number in tl.range(tl.program_id(0), tiles_m * tiles_n, PROGRAMS, flatten=True):
        at_m, at_n = _tile(number, tiles_m, tiles_n, GROUP)
        total = tl.zeros((ROWS, COLUMNS), tl.int32)
        for step in range(0, tl.cdiv(k, DEPTH)):
            a, b = left.load([at_m * ROWS, step * DEPTH]), right.load([at_n * COLUMNS, step * DEPTH])
            total = tl.dot(a, b.T, total, out_dtype=tl.int32)
        row, column = at_m * ROWS + tl.arange(0, ROWS), at_n * COLUMNS + tl.arange(0, COLUMNS)
        value = _dequantized(total, row_scale, scale, bias, row, column, m, n, HAS_BIAS)
        out.store([at_m * ROWS, at_n * COLUMNS], value.to(out.dtype))


@triton.jit
def _quantize(rows, quantized, scales, k, BLOCK: tl.constexpr):
    """One row to int8 by its own scale."""
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, BLOCK)
    value = tl.load(rows + row * k + column, mask=column < k, other=0.0).to(tl.float32)
    scale = tl.maximum(tl.max(tl.abs(value), 0), 1e-12) * (1 / 127)
    tl.store(scales + row, scale)
    # adding and taking away 1.5 * 2**23 rounds to the nearest whole number, ties to even, as torch.round does
    whole = (tl.div_rn(value, scale) + 12582912.0) - 12582912.0
    tl.store(quantized + row * k + column, whole.to(tl.int8), mask=column < k)


def quantize(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Contiguous rows (m, k), with k at most LONGEST_ROW, as int8, and the scale of each (m,) in fp32."""
    quantized = torch.empty_like(rows, dtype=torch.int8)
    scales = torch.empty(rows.shape[0], dtype=torch.float32, device=rows.device)
    block = triton.next_power_of_2(rows.shape[1])
    with torch.cuda.device(rows.device):
        _quantize[(rows.shape[0],)](
            rows, quantized, scales, rows.shape[1], BLOCK=block, num_warps=8 if block > 4096 else 4
        )
    return quantized, scales


def product(
    rows: torch.Tensor,
    row_scale: torch.Tensor,
    weight: torch.Tensor,
    scale: torch.Tensor,
    bias: torch.Tensor | None,
    dtype: torch.dtype,
) -> torch.Tensor:
    """`rows (m, k) @ weight (n, k).T * row_scale (m) * scale (n) + bias (n)` in `dtype`; rows and weight contiguous."""
    (m, k), n = rows.shape, weight.shape[0]
    out = torch.empty(m, n, dtype=dtype, device=rows.device)
    facts = (row_scale, scale, row_scale if bias is None else bias, m, n, k)
    fixed = {"HAS_BIAS": bias is not None, "GROUP": GROUP, "enable_fp_fusion": False}  # rounds as torch does
    with torch.cuda.device(rows.device):
        if _suits_tma(rows, weight, out):
            tiles = triton.cdiv(m, HOPPER_TILE["ROWS"]) * triton.cdiv(n, HOPPER_TILE["COLUMNS"])
            programs = torch.cuda.get_device_properties(rows.device).multi_processor_count
            _product_by_tma[(min(programs, tiles),)](
                *_descriptors(rows, weight, out), *facts, programs, **fixed, **HOPPER_TILE
            )
        else:
            _product[lambda tile: (triton.cdiv(m, tile["ROWS"]) * triton.cdiv(n, tile["COLUMNS"]),)](
                rows, weight, out, *facts, **fixed
            )
    return out


def _suits_tma(rows: torch.Tensor, weight: torch.Tensor, out: torch.Tensor) -> bool:
    """On Hopper, for outputs in 16 bits: larger ones leave too little shared memory for the pipeline."""
    if torch.version.hip is not None or torch.cuda.get_device_capability(rows.device)[0] != HOPPER:
        return False
    is_aligned = all(tensor.data_ptr() % ALIGNMENT == 0 for tensor in (rows, weight, out))
    strides = (rows.stride(0), weight.stride(0), out.stride(0) * out.element_size())
    return is_aligned and out.element_size() == 2 and all(stride % ALIGNMENT == 0 for stride in strides)


def _descriptors(rows: torch.Tensor, weight: torch.Tensor, out: torch.Tensor) -> list[TensorDescriptor]:
    height, width, depth = (HOPPER_TILE[name] for name in ("ROWS", "COLUMNS", "DEPTH"))
    tiles = ((rows, [height, depth]), (weight, [width, depth]), (out, [height, width]))
    return [TensorDescriptor.from_tensor(tensor, shape) for tensor, shape in tiles]
