"""The int8 kernels give the integers, and the bits, of plain torch on a CPU."""

from __future__ import annotations

import pytest
import torch

from tests.gpu.bench import Bench
from wan_pipeline.engine.int8.product import int8_linear, int8_product, quantized_rows

pytestmark = pytest.mark.gpu

SHAPES = [(520, 384, 1024), (1, 5120, 5120), (517, 1536, 8960), (300, 331, 333), (64, 48, 96)]
"""Rows, outputs and columns: of Wan's layers, and of none of a tile's size."""


def integers(*shape: int) -> torch.Tensor:
    return torch.randint(-128, 128, shape, dtype=torch.int8)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("has_bias", [False, True])
@pytest.mark.parametrize(("m", "n", "k"), SHAPES)
def test_a_product_has_the_bits_of_plain_torch(bench: Bench, m, n, k, has_bias, dtype):
    bench.skip_unless_able("int8-compute")
    torch.manual_seed(0)
    parts = [integers(m, k), torch.rand(m) * 1e-3, integers(n, k), torch.rand(n, 1).to(torch.bfloat16) * 1e-2]
    parts = [*parts[:3], parts[3].view(-1), torch.randn(n, dtype=torch.bfloat16) if has_bias else None]
    wanted = int8_product(*parts, dtype)
    made = int8_product(*(None if part is None else part.to(bench.place.device) for part in parts), dtype)
    assert made.dtype is dtype and made.cpu().equal(wanted)


@pytest.mark.parametrize("k", [5120, 13824, 333, 20000])
def test_rows_are_rounded_to_the_same_integers(bench: Bench, k):
    bench.skip_unless_able("int8-compute")
    torch.manual_seed(0)
    rows = torch.randn(37, k, dtype=torch.bfloat16) * torch.logspace(-6, 3, 37)[:, None].bfloat16()
    rows[5] = 0
    wanted, made = quantized_rows(rows), quantized_rows(rows.to(bench.place.device))
    assert all(one.cpu().equal(other) for one, other in zip(made, wanted, strict=True))


def test_a_layer_takes_inputs_that_are_not_contiguous(bench: Bench):
    bench.skip_unless_able("int8-compute")
    torch.manual_seed(0)
    device = bench.place.device
    inputs = torch.randn(2, 96, 70, dtype=torch.bfloat16, device=device).transpose(1, 2)
    weight, scale = integers(64, 96).to(device), torch.full((64, 1), 0.01, dtype=torch.bfloat16, device=device)
    assert int8_linear(inputs, weight, scale, None).equal(int8_linear(inputs.contiguous(), weight, scale, None))
