"""SageAttention's kernel for Hopper, with inputs that our kernels have rounded, attends as well as with its own."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from tests.gpu.bench import Bench
from wan_pipeline.engine.attention.sage import rounds_itself, sage_attention

pytestmark = pytest.mark.gpu

HEADS = 6


def inputs(bench: Bench, tokens: int) -> list[torch.Tensor]:
    """Queries, keys with a mean as trained ones have, and values, of random numbers."""
    torch.manual_seed(tokens)
    shape = (2, tokens, HEADS, 128)
    query, key, value = (torch.randn(shape, dtype=torch.bfloat16).to(bench.place.device) for _ in range(3))
    if bench.place.device.type != "cuda" or not rounds_itself(query):
        pytest.skip("needs a Hopper GPU and SageAttention 2.2")
    return [query, key + 2, value]


def error(made: torch.Tensor, parts: list[torch.Tensor]) -> float:
    by_head = [part.transpose(1, 2).float() for part in parts]
    wanted = scaled_dot_product_attention(*by_head).transpose(1, 2)
    return float((made.float() - wanted).norm() / wanted.norm())


@pytest.mark.parametrize("tokens", [64, 300, 2048, 4129])
def test_it_errs_no_more_than_with_its_own_rounding(bench: Bench, tokens: int):
    parts = inputs(bench, tokens)
    from sageattention import sageattn  # here: it is not installed everywhere

    assert error(sage_attention(*parts), parts) < error(sageattn(*parts, tensor_layout="NHD"), parts) + 0.001


def test_some_heads_of_a_tensor_have_the_bits_of_a_copy(bench: Bench):
    parts = [part[:, :, 1:4] for part in inputs(bench, 1000)]
    assert sage_attention(*parts).equal(sage_attention(*(part.contiguous() for part in parts)))


def test_the_bits_are_the_same_again(bench: Bench):
    parts = inputs(bench, 3000)
    assert sage_attention(*parts).equal(sage_attention(*parts))
