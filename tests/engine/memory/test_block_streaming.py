"""Streamed blocks: the same bits as resident ones, from memory or from a file, and nothing of it is left afterwards."""

from __future__ import annotations

import pytest
import torch
from diffusers import WanTransformer3DModel
from transformers import UMT5EncoderModel

from tests.engine.memory.test_quantize import bits, empty, output, same
from wan_pipeline.engine.adapters import LowRank, applied
from wan_pipeline.engine.memory.block_buffer import arena_sizes
from wan_pipeline.engine.memory.block_streaming import Streamed, streaming
from wan_pipeline.engine.memory.inner_tensors import each_tensor, leaves
from wan_pipeline.engine.memory.quantize import load_quantized, quantize, save_quantized
from wan_pipeline.models.precision import Precision

CPU = torch.device("cpu")
LAYERS = 5


def make(precision=Precision.BF16, seed=0, layers=LAYERS, dtype=torch.float32, **shape):
    torch.manual_seed(seed)
    model = WanTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=24,
        in_channels=48,
        out_channels=48,
        text_dim=32,
        freq_dim=32,
        ffn_dim=64,
        num_layers=layers,
        **{"cross_attn_norm": True, "rope_max_seq_len": 64} | shape,
    ).to(dtype)
    quantize(model.eval().requires_grad_(False), precision, dtype)
    return model


def places(model):
    return {
        (id(owner), name): [leaf.data_ptr() for leaf in leaves(tensor)] for owner, name, tensor in each_tensor(model)
    }


@pytest.mark.parametrize("precision", [Precision.BF16, Precision.INT8, Precision.FP8, Precision.INT4])
@pytest.mark.parametrize("resident", [0, 1, 3, LAYERS])
@pytest.mark.parametrize("in_memory", [True, False])
def test_streamed_is_resident_bit_for_bit_and_undone(precision, resident, in_memory):
    model = make(precision)
    streamed = Streamed(model)
    if in_memory:
        assert streamed.settle(pinned=False)
    wanted, stored, before = output(model), bits(model), places(model)
    with streaming([streamed], CPU, resident) as stream:
        assert [output(model).equal(wanted) for _ in range(3)] == [True] * 3
        assert stream.misses == (1 if resident < LAYERS else 0)
        assert places(model).keys() == before.keys()
    assert places(model) == before and same(bits(model), stored)
    assert output(model).equal(wanted)
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in model.modules())


def test_settling_changes_no_bit():
    model = make(Precision.INT8)
    stored, wanted = bits(model), output(model)
    Streamed(model).settle(pinned=False)
    assert same(bits(model), stored) and output(model).equal(wanted)


def test_while_they_compute_blocks_are_in_the_ring_and_nowhere_else():
    model = make()
    streamed = Streamed(model)
    streamed.settle(pinned=False)
    seen = []
    for block in model.blocks:
        block.attn1.to_q.register_forward_hook(lambda layer, *_: seen.append(layer.weight.data_ptr()))
    home = {block.attn1.to_q.weight.data_ptr() for block in model.blocks}
    with streaming([streamed], CPU):
        output(model)
        output(model)
    assert len(seen) == 2 * LAYERS and len(set(seen)) == 2 and home.isdisjoint(seen)


@pytest.mark.parametrize("resident", [0, 2])
def test_two_experts_share_the_room(resident):
    experts = [make(Precision.INT8, seed) for seed in (1, 2)]
    wanted = [output(expert) for expert in experts]
    streamed = [Streamed(expert) for expert in experts]
    streamed[0].settle(pinned=False)  # the other one stays where it was loaded to
    with streaming(streamed, CPU, resident) as stream:
        for turn in (0, 0, 0, 1, 1, 0, 1):
            assert output(experts[turn]).equal(wanted[turn])
        assert stream.misses == 4


@pytest.mark.parametrize("precision", [Precision.BF16, Precision.INT8])
def test_adapters_on_streamed_blocks(precision):
    model = make(precision)
    torch.manual_seed(3)
    adapter = {
        f"blocks.{index}.{name}": LowRank(torch.randn(2, 48), torch.randn(48, 2))
        for index in range(LAYERS)
        for name in ("attn1.to_q", "attn2.to_out.0")
    }
    plain = output(model)
    with applied(model, [adapter]):
        wanted = output(model)
        with streaming([Streamed(model)], CPU, 2):
            assert output(model).equal(wanted)
    assert output(model).equal(plain) and not wanted.equal(plain)


def test_from_a_file_that_is_only_mapped(tmp_path):
    model = make(Precision.INT8)
    save_quantized(model, tmp_path / "file", "a")
    mapped = empty(model)
    load_quantized(mapped, tmp_path / "file", "a")
    streamed = Streamed(mapped)
    with streaming([streamed], CPU, 1):
        assert output(mapped).equal(output(model))
    assert all(block.slab is None for block in streamed.blocks)


@pytest.mark.parametrize("stop_at", [0, 2, LAYERS - 1])
def test_an_error_within_a_block_leaves_nothing_behind(stop_at):
    model = make(Precision.INT8)
    streamed = Streamed(model)
    streamed.settle(pinned=False)
    wanted, before = output(model), places(model)

    def fail(*_):
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"), streaming([streamed], CPU, 1):
        output(model)
        hook = model.blocks[stop_at].ffn.register_forward_hook(fail)
        output(model)
    hook.remove()
    assert places(model) == before and output(model).equal(wanted)
    with streaming([streamed], CPU, 1):
        assert output(model).equal(wanted)


def test_a_pass_that_was_stopped_and_begun_anew_is_right():
    """Cancel, then the next clip within the same stream: the guess is wrong once, the output never."""
    model = make()
    wanted = output(model)

    def fail(*_):
        raise RuntimeError("stop")

    with streaming([Streamed(model)], CPU) as stream:
        hook = model.blocks[3].register_forward_pre_hook(fail, prepend=True)
        with pytest.raises(RuntimeError):
            output(model)
        hook.remove()
        assert output(model).equal(wanted) and stream.misses == 2


def test_more_berths_than_blocks_are_no_more():
    model = make()
    streamed = Streamed(model)
    wanted = output(model)
    with streaming([streamed], CPU, 1000) as stream:
        assert output(model).equal(wanted)
        assert len(stream._berths) == LAYERS and not stream._slots


def test_one_block_alone():
    model = make(layers=1)
    wanted = output(model)
    with streaming([Streamed(model)], CPU):
        assert output(model).equal(wanted) and output(model).equal(wanted)


def test_the_text_encoder_streams_and_its_words_stay_at_home(tiny_demo):
    encoder = UMT5EncoderModel.from_pretrained(tiny_demo / "text_encoder", dtype=torch.float32).eval()
    tokens = torch.tensor([[3, 4, 5, 1]])
    wanted = encoder(tokens).last_hidden_state
    table = encoder.shared.weight.data_ptr()
    streamed = Streamed(encoder)
    assert len(streamed.blocks) == 2
    streamed.settle(pinned=False)
    with streaming([streamed], CPU):
        assert encoder(tokens).last_hidden_state.allclose(wanted, atol=1e-6)
        assert encoder.shared.weight.data_ptr() == table
        assert all(owner is not encoder.shared for owner, _, _ in streamed.around())


def test_arenas_are_powers_of_two_and_hold_everything():
    slab = 350 * 2**20
    sizes = arena_sizes([slab] * 40)
    assert all(size & (size - 1) == 0 for size in sizes)
    assert sum(size // slab for size in sizes) >= 40 and sum(sizes) < 1.2 * 40 * slab
    assert arena_sizes([10]) == [16] and arena_sizes([]) == []
