"""Chunked forward: the stock forward's output but for rounding, and nothing of it is left."""

from __future__ import annotations

import pytest
import torch
from diffusers.models.transformers.transformer_wan import WanTransformerBlock

from tests.engine.memory.test_block_streaming import make
from tests.engine.memory.test_quantize import inputs, output
from wan_pipeline.engine.lora.adapters import LowRank, applied
from wan_pipeline.engine.memory.block_streaming import StreamedModel, streaming
from wan_pipeline.engine.memory.chunked_forward import chunked
from wan_pipeline.lora.reading.keys import Role
from wan_pipeline.models.precision import Precision
from wan_pipeline.planning.transformer import CHUNK_ROWS

CPU = torch.device("cpu")
TOKENS = 18


def call(model, **changes):
    with torch.inference_mode():
        return model(**inputs() | changes, return_dict=False)[0]


@pytest.mark.parametrize(("tokens", "fused"), [(1, False), (5, False), (9, True), (TOKENS, False), (1000, True)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_same_but_for_rounding_and_undone(tokens, fused, dtype):
    model = make(dtype=dtype)
    given = {name: value.to(dtype) for name, value in inputs().items() if value.is_floating_point()}
    wanted = call(model, **given)
    with chunked(model, tokens, fused=fused):
        made = call(model, **given)
    assert made.dtype == wanted.dtype
    assert made.float().allclose(wanted.float(), atol=1e-5 if dtype is torch.float32 else 0.06)
    assert call(model, **given).equal(wanted)
    assert all("forward" not in module.__dict__ for module in model.modules())


@pytest.mark.parametrize("fused", [False, True])
def test_per_token_timestep_embeddings(fused):
    model = make()
    times = torch.full((1, TOKENS), 500.0)
    times[:, :6] = 0
    wanted = call(model, timestep=times)
    with chunked(model, 4, fused=fused):
        assert call(model, timestep=times).allclose(wanted, atol=1e-5)
    assert not wanted.allclose(call(model), atol=1e-3)


@pytest.mark.parametrize(("fused", "cross_attn_norm"), [(False, False), (True, True), (True, False)])
def test_with_an_image_beside_the_text(fused, cross_attn_norm):
    """Without a norm before cross-attention a block keeps the forward that is not fused."""
    model = make(layers=2, cross_attn_norm=cross_attn_norm, image_dim=32, added_kv_proj_dim=48)
    given = {"encoder_hidden_states": torch.randn(1, 512, 32), "encoder_hidden_states_image": torch.randn(1, 9, 32)}
    wanted = call(model, **given)
    with chunked(model, 5, fused=fused):
        assert call(model, **given).allclose(wanted, atol=1e-5)


def test_streamed_quantized_chunked_and_with_an_adapter():
    model = make(Precision.INT8)
    torch.manual_seed(3)
    adapter = {"blocks.1.attn1.to_k": [LowRank({Role.DOWN: torch.randn(2, 48), Role.UP: torch.randn(48, 2)})]}
    with applied(model, [adapter]):
        wanted = output(model)
        with streaming([StreamedModel(model)], CPU, 1), chunked(model, 7):
            assert output(model).allclose(wanted, atol=1e-4)
        assert output(model).equal(wanted)


def test_fused_layers_that_multiply_in_int8_round_no_further_than_alone():
    model = make(Precision.INT8_COMPUTE)
    wanted = output(model)
    with chunked(model, 7, fused=True):
        made = output(model)
    assert 0 < (made - wanted).norm() < 0.02 * wanted.norm()


def test_a_lora_on_a_fused_layer_sees_rows_that_are_not_rounded():
    model = make(Precision.INT8_COMPUTE)
    torch.manual_seed(3)
    change = LowRank({Role.DOWN: torch.randn(2, 48), Role.UP: torch.randn(48, 2)})
    with applied(model, [{"blocks.1.attn1.to_k": [change]}]):
        wanted = output(model)
        with chunked(model, 7, fused=True):
            made = output(model)
    assert (made - wanted).norm() < 0.02 * wanted.norm() < (made - output(model)).norm()


def test_a_changed_norm_keeps_its_change():
    """A block whose norm a LoRA changes is not fused."""
    model = make()
    with chunked(model, 7, fused=True):
        before = output(model)
    model.blocks[1].attn1.norm_q.register_forward_hook(lambda module, rows, made: made * 3)
    wanted = output(model)
    with chunked(model, 7, fused=True):
        assert output(model).allclose(wanted, atol=1e-4)
    assert not wanted.allclose(before, atol=1e-3)


def test_no_layer_sees_more_rows_than_asked():
    model, seen = make(), []
    for block in model.blocks:
        block.ffn.register_forward_pre_hook(lambda _, args: seen.append(args[0].shape[1]))
    with chunked(model, 7):
        output(model)
    assert max(seen) == 7 and sum(seen) == TOKENS * len(model.blocks)


@pytest.mark.parametrize(("whole", "calls"), [(False, [CHUNK_ROWS, 104]), (True, [CHUNK_ROWS + 104])])
def test_the_last_projection_takes_as_many_rows_as_ever_but_for_a_cache_that_counts_its_calls(whole, calls):
    model, seen = make(layers=1), []
    model.proj_out.register_forward_pre_hook(lambda _, args: seen.append(args[0].shape[1]))
    with chunked(model, 1000, whole_head=whole):
        call(model, hidden_states=torch.zeros(1, 48, 7, 40, 60))
    assert seen == calls


def test_an_error_within_leaves_nothing():
    model = make()
    with pytest.raises(RuntimeError), chunked(model, 7):
        call(model, encoder_hidden_states=torch.zeros(1, 8, 3))
    assert all("forward" not in module.__dict__ for module in model.modules())


def test_zero_changes_nothing():
    model = make()
    with chunked(model, 0):
        assert not any("forward" in module.__dict__ for module in model.modules())
        assert isinstance(model.blocks[0], WanTransformerBlock)
