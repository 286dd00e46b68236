"""A linear layer in int8: W8A8, with a scale for each row of the activations and one for each output.

On NVIDIA GPUs and ROCm the product is a triton kernel; elsewhere, which means in tests on a CPU, it is plain torch. The
integers of both are equal: sums of products of int8 are exact in int32.
"""

from __future__ import annotations

from importlib.util import find_spec

import torch

from wan_pipeline.engine.int8.rounded import LONGEST_ROW, Rounded

LARGEST = 127
EXACT_COLUMNS = 1024
"""Products of so many int8 pairs add up exactly in fp32: 1024 * 128**2 = 2**24."""
TURING = (7, 5)


def computes_int8(device: torch.device) -> bool:
    """Whether the device runs the kernel: NVIDIA GPUs from Turing on and ROCm, with triton installed."""
    return has_int8_units(device) and find_spec("triton") is not None


def has_int8_units(device: torch.device) -> bool:
    """Whether the device multiplies matrices of int8."""
    if device.type != "cuda":
        return False
    return torch.version.hip is not None or torch.cuda.get_device_capability(device) >= TURING


def int8_linear(
    inputs: torch.Tensor, weight: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor | None
) -> torch.Tensor:
    """`inputs @ (weight * scale).T + bias`, with each row of the inputs rounded to int8.

    Args:
        inputs: (..., k) in a floating dtype, contiguous or not.
        weight: (n, k) int8, contiguous.
        scale: (n, 1) or (n,), of each output.
        bias: (n,) or None.

    Returns:
        (..., n) in the dtype of the inputs.
    """
    rounded = Rounded(*quantized_rows(inputs.reshape(-1, inputs.shape[-1])), inputs.dtype)
    return int8_product_of(rounded, weight, scale, bias).view(*inputs.shape[:-1], -1)


def int8_product_of(
    rows: Rounded, weight: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor | None
) -> torch.Tensor:
    """The same of rows (m, k) that are in int8 already: (m, n)."""
    product: torch.Tensor = int8_product(rows.values, rows.scales, weight, scale.reshape(-1), bias, rows.dtype)
    return product


def quantized_rows(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The rows (m, k) as int8 of the same shape, and the scale of each, (m,) in fp32: the largest magnitude over 127.

    Compiled code fuses the plain operations with what comes before; alone on a GPU they would read the rows five times,
    so there a kernel does it, to the same bits.
    """
    if rows.is_cuda and not torch.compiler.is_compiling():
        from wan_pipeline.engine.int8 import kernels  # here: triton is not installed everywhere

        if rows.shape[1] <= LONGEST_ROW:
            return kernels.quantize(rows.contiguous())
    # torch divides by a number otherwise on a GPU than on a CPU, but multiplies alike
    scale = rows.abs().amax(-1, keepdim=True).float().clamp(min=1e-12) * (1 / LARGEST)
    return torch.round(rows / scale).to(torch.int8), scale.view(-1)


@torch.library.custom_op("wan_studio::int8_product", mutates_args=())
def int8_product(
    rows: torch.Tensor,
    row_scale: torch.Tensor,
    weight: torch.Tensor,
    scale: torch.Tensor,
    bias: torch.Tensor | None,
    dtype: torch.dtype,
) -> torch.Tensor:
    """`rows (m, k) @ weight (n, k).T * row_scale (m) * scale (n) + bias (n)` in `dtype`.

    An operator of its own, so that compiled blocks take it as it is.
    """
    product = integer_product(rows, weight).float() * row_scale[:, None] * scale.float()
    return (product if bias is None else product + bias.float()).to(dtype)


@int8_product.register_kernel("cuda")
def _(
    rows: torch.Tensor,
    row_scale: torch.Tensor,
    weight: torch.Tensor,
    scale: torch.Tensor,
    bias: torch.Tensor | None,
    dtype: torch.dtype,
) -> torch.Tensor:
    from wan_pipeline.engine.int8 import kernels  # here: triton is not installed everywhere

    return kernels.product(rows.contiguous(), row_scale, weight, scale, bias, dtype)


@int8_product.register_fake
def _(
    rows: torch.Tensor,
    row_scale: torch.Tensor,
    weight: torch.Tensor,
    scale: torch.Tensor,
    bias: torch.Tensor | None,
    dtype: torch.dtype,
) -> torch.Tensor:
    return rows.new_empty(rows.shape[0], weight.shape[0], dtype=dtype)


def integer_product(rows: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """`rows (m, k) @ weight (n, k).T` of int8, exactly, in int32.

    By fp32 products of a few columns at a time: torch's own integer products are slow on a CPU, and those of oneDNN
    saturate on some processors.
    """
    total = torch.zeros(rows.shape[0], weight.shape[0], dtype=torch.int32, device=rows.device)
    for first in range(0, rows.shape[1], EXACT_COLUMNS):
        part = slice(first, first + EXACT_COLUMNS)
        total += (rows[:, part].float() @ weight[:, part].float().T).to(torch.int32)
    return total
