"""Int8 products on a CPU: exact integers, inputs of every shape, and compiled code that takes them as one operator."""

from __future__ import annotations

import pytest
import torch
from optimum.quanto import qint8
from torch.nn.functional import linear

from wan_pipeline.engine.int8.product import (
    has_int8_units,
    int8_linear,
    int8_product,
    integer_product,
    quantized_rows,
)
from wan_pipeline.engine.memory.quantized_layers import Int8Linear, dequantized


def layer(inputs: int, outputs: int, *, bias: bool = True) -> Int8Linear:
    torch.manual_seed(0)
    made = Int8Linear.from_module(torch.nn.Linear(inputs, outputs, bias=bias), weights=qint8)
    made.freeze()
    return made.requires_grad_(False)


@pytest.mark.parametrize(("m", "n", "k"), [(1, 3, 5), (7, 13, 1024), (5, 4, 2500)])
def test_integers_are_exact(m, n, k):
    torch.manual_seed(0)
    rows, weight = (torch.randint(-128, 128, (size, k), dtype=torch.int8) for size in (m, n))
    rows[0] = weight[0] = -128  # the largest sum that there is
    assert integer_product(rows, weight).equal(rows.int() @ weight.int().T)


def test_rows_are_rounded_to_the_nearest_of_their_own_127_steps():
    rows = torch.tensor([[0.0, 0.0], [-2.54, 1.0], [127.0, 0.5], [127.0, 1.5]])
    quantized, scale = quantized_rows(rows)
    assert quantized.tolist() == [[0, 0], [-127, 50], [127, 0], [127, 2]]
    assert torch.allclose(quantized * scale[:, None], rows, atol=0.51)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(2, 9, 48), (48,), (1, 1, 48), (3, 2, 2, 48)])
def test_a_layer_is_near_the_exact_one_in_every_shape(shape, bias):
    int8 = layer(48, 96, bias=bias)
    inputs = torch.randn(shape)
    made, wanted = int8(inputs), linear(inputs, dequantized(int8.weight), int8.bias)
    assert made.shape == wanted.shape and made.dtype is inputs.dtype
    assert float((made - wanted).norm() / wanted.norm()) < 0.02


def test_inputs_need_not_be_contiguous_and_keep_their_dtype():
    int8 = layer(48, 96)
    inputs = torch.randn(2, 48, 9, dtype=torch.bfloat16).transpose(1, 2)
    assert int8(inputs).equal(int8(inputs.contiguous())) and int8(inputs).dtype is torch.bfloat16


@pytest.mark.soak
def test_compiled_code_takes_a_layer_without_a_break():
    int8, inputs = layer(48, 96), torch.randn(9, 48)
    compiled = torch.compile(
        lambda rows: int8_linear(rows, int8.weight._data, int8.weight._scale, int8.bias),
        fullgraph=True,
        backend="aot_eager",
    )
    with torch.inference_mode():
        assert compiled(inputs).equal(int8(inputs))


@pytest.mark.soak
def test_the_operator_says_what_it_returns():
    rows, weight = torch.ones(3, 8, dtype=torch.int8), torch.ones(5, 8, dtype=torch.int8)
    parts = (rows, torch.ones(3), weight, torch.ones(5), None, torch.float32)
    found = torch.library.opcheck(int8_product, parts, test_utils=("test_schema", "test_faketensor"))
    assert set(found.values()) == {"SUCCESS"}


def test_no_other_device_multiplies_in_int8():
    assert not has_int8_units(torch.device("cpu")) and not has_int8_units(torch.device("mps"))
