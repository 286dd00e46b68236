"""Block streaming: the bits of resident blocks, from memory or from a file, and every tensor back home afterwards."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from diffusers import WanTransformer3DModel
from transformers import UMT5EncoderModel

from tests.engine.memory.test_quantize import bits, empty, output, same
from wan_pipeline.engine.lora.adapters import LowRank, applied
from wan_pipeline.engine.memory.alignment import is_aligned
from wan_pipeline.engine.memory.block_buffer import SLAB_ALIGNMENT, arena_sizes
from wan_pipeline.engine.memory.block_streaming import StreamedModel, streaming
from wan_pipeline.engine.memory.inner_tensors import inner_tensors, named_tensors
from wan_pipeline.engine.memory.quantize import load_quantized, quantize, save_quantized
from wan_pipeline.lora.reading.keys import Role
from wan_pipeline.models.precision import Precision
from wan_pipeline.planning.transformer import RING_BLOCKS

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


def addresses(model):
    return {
        (id(owner), name): [inner.data_ptr() for inner in inner_tensors(tensor)]
        for owner, name, tensor in named_tensors(model)
    }


PRECISIONS = (Precision.INT8, Precision.BF16, Precision.FP8, Precision.INT4)
CASES = [
    pytest.param(
        precision, resident, in_memory, marks=() if precision is Precision.INT8 or resident == 1 else pytest.mark.soak
    )
    for precision, resident, in_memory in product(PRECISIONS, (0, 1, 3, LAYERS), (True, False))
]
"""All of them for one precision, and all precisions with one resident block; the others in the long tests."""


@pytest.mark.parametrize(("precision", "resident", "in_memory"), CASES)
def test_streamed_is_resident_bit_for_bit_and_undone(precision, resident, in_memory):
    model = make(precision)
    streamed = StreamedModel(model)
    if in_memory:
        assert streamed.move_to_host_memory(pinned=False)
    wanted, stored, before = output(model), bits(model), addresses(model)
    with streaming([streamed], CPU, resident) as stream:
        assert [output(model).equal(wanted) for _ in range(3)] == [True] * 3
        assert stream.prefetch_misses == (1 if resident < LAYERS else 0)
        assert addresses(model).keys() == before.keys()
    assert addresses(model) == before and same(bits(model), stored)
    assert output(model).equal(wanted)
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in model.modules())


def test_moving_to_host_memory_changes_no_bit():
    model = make(Precision.INT8)
    stored, wanted = bits(model), output(model)
    StreamedModel(model).move_to_host_memory(pinned=False)
    assert same(bits(model), stored) and output(model).equal(wanted)


def test_blocks_compute_from_the_ring_buffer_alone_and_aligned():
    model = make()
    streamed = StreamedModel(model)
    streamed.move_to_host_memory(pinned=False)
    seen, unaligned = [], []
    for block in model.blocks:
        block.attn1.to_q.register_forward_hook(lambda layer, *_: seen.append(layer.weight.data_ptr()))
        block.register_forward_pre_hook(
            lambda part, _: unaligned.extend(name for name, weight in part.named_parameters() if not is_aligned(weight))
        )
    home = {block.attn1.to_q.weight.data_ptr() for block in model.blocks}
    with streaming([streamed], CPU):
        output(model)
        output(model)
    assert len(seen) == 2 * LAYERS and len(set(seen)) == RING_BLOCKS and home.isdisjoint(seen)
    assert not unaligned


@pytest.mark.parametrize("resident", [0, 2])
def test_two_experts_share_the_buffers(resident):
    experts = [make(Precision.INT8, seed) for seed in (1, 2)]
    wanted = [output(expert) for expert in experts]
    streamed = [StreamedModel(expert) for expert in experts]
    streamed[0].move_to_host_memory(pinned=False)  # the other one stays where it was loaded to
    with streaming(streamed, CPU, resident) as stream:
        for turn in (0, 0, 0, 1, 1, 0, 1):
            assert output(experts[turn]).equal(wanted[turn])
        assert stream.prefetch_misses == 4


def lora(*blocks):
    torch.manual_seed(3)
    return {
        f"blocks.{index}.{name}": [LowRank({Role.DOWN: torch.randn(2, 48), Role.UP: torch.randn(48, 2)})]
        for index in blocks or range(LAYERS)
        for name in ("attn1.to_q", "attn2.to_out.0")
    }


@pytest.mark.parametrize(
    ("precision", "resident", "in_memory"),
    [(Precision.BF16, 2, True), (Precision.INT8, 0, True), (Precision.INT8, 2, False)],
)
def test_a_lora_travels_with_the_blocks(precision, resident, in_memory):
    model, adapter = make(precision), lora()
    streamed, plain, stored = StreamedModel(model), output(model), bits(model)
    if in_memory:
        streamed.move_to_host_memory(pinned=False)
    seen = []
    for index, block in enumerate(model.blocks):
        matrices = adapter[f"blocks.{index}.attn1.to_q"][0].tensors
        block.attn1.to_q.register_forward_pre_hook(
            lambda *_, m=matrices: seen.extend(map(torch.Tensor.data_ptr, m.values()))
        )
    with applied(model, [adapter]):
        wanted = output(model)
        seen.clear()
        with streaming([streamed], CPU, resident) as stream:
            assert [output(model).equal(wanted) for _ in range(2)] == [True] * 2
        buffers = [buffer.slab for buffer in (*stream._ring, *stream._resident.values())]
        assert len(seen) == 2 * 2 * LAYERS and len(set(seen)) == 2 * len(buffers)
        assert all(any(0 <= at - slab.data_ptr() < len(slab) for slab in buffers) for at in seen)
        with torch.inference_mode():
            torch._foreach_zero_(buffers)
        assert output(model).equal(wanted), "the matrices are at home again"
    assert not any(block.carried for block in streamed.blocks) and same(bits(model), stored)
    assert output(model).equal(plain) and not wanted.equal(plain)


def test_buffers_have_room_for_what_their_own_blocks_carry():
    model = make()
    streamed = StreamedModel(model)
    size = streamed.blocks[0].nbytes
    taken = 2 * 2 * 2 * SLAB_ALIGNMENT  # two layers' two matrices of 2 x 48 in fp32
    for block, of_resident, of_ring in ((2, [size, size + taken], size), (1, [size, size], size + taken)):
        with applied(model, [lora(block)]), streaming([streamed], CPU, 2) as stream:  # the first and the third
            output(model)
        assert [len(buffer.slab) for buffer in stream._resident.values()] == of_resident
        assert [len(buffer.slab) for buffer in stream._ring] == [of_ring] * RING_BLOCKS
    with streaming([streamed], CPU) as stream:
        output(model)
    assert {len(buffer.slab) for buffer in stream._ring} == {size}


@pytest.mark.parametrize("resident", [0, 2])
def test_two_experts_share_a_lora(resident):
    experts, adapter = [make(Precision.INT8, seed) for seed in (1, 2)], lora()
    with applied(experts[0], [adapter]), applied(experts[1], [adapter]):
        wanted = [output(expert) for expert in experts]
        with streaming([StreamedModel(expert) for expert in experts], CPU, resident):
            assert all(output(experts[turn]).equal(wanted[turn]) for turn in (0, 0, 1, 0, 1, 1))


def test_a_lora_outside_the_blocks_is_on_the_device_all_the_time():
    model = make()
    torch.manual_seed(4)
    update = LowRank({Role.DOWN: torch.randn(2, 48), Role.UP: torch.randn(48, 2)})
    before = update.tensors[Role.DOWN]
    with applied(model, [{"condition_embedder.time_embedder.linear_2": [update]}]):
        with streaming([StreamedModel(model)], torch.device("meta")):
            assert {tensor.device.type for tensor in update.tensors.values()} == {"meta"}
        assert update.tensors[Role.DOWN] is before


def test_from_a_file_that_is_only_mapped(tmp_path):
    model = make(Precision.INT8)
    save_quantized(model, tmp_path / "file", "a")
    mapped = empty(model)
    load_quantized(mapped, tmp_path / "file", "a")
    streamed = StreamedModel(mapped)
    with streaming([streamed], CPU, 1):
        assert output(mapped).equal(output(model))
    assert all(block.home_slab is None for block in streamed.blocks)


@pytest.mark.parametrize("stop_at", [0, 2, LAYERS - 1])
def test_an_error_within_a_block_leaves_nothing_behind(stop_at):
    model = make(Precision.INT8)
    streamed = StreamedModel(model)
    streamed.move_to_host_memory(pinned=False)
    wanted, before = output(model), addresses(model)

    def fail(*_):
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"), streaming([streamed], CPU, 1):
        output(model)
        hook = model.blocks[stop_at].ffn.register_forward_hook(fail)
        output(model)
    hook.remove()
    assert addresses(model) == before and output(model).equal(wanted)
    with streaming([streamed], CPU, 1):
        assert output(model).equal(wanted)


def test_a_pass_after_one_that_was_stopped_is_right():
    """As after a cancel, when the next clip uses the same stream: a prefetch miss, and the right output."""
    model = make()
    wanted = output(model)

    def fail(*_):
        raise RuntimeError("stop")

    with streaming([StreamedModel(model)], CPU) as stream:
        hook = model.blocks[3].register_forward_pre_hook(fail, prepend=True)
        with pytest.raises(RuntimeError):
            output(model)
        hook.remove()
        assert output(model).equal(wanted) and stream.prefetch_misses == 2


def test_more_resident_blocks_than_there_are_take_no_more_memory():
    model = make()
    streamed = StreamedModel(model)
    wanted = output(model)
    with streaming([streamed], CPU, 1000) as stream:
        assert output(model).equal(wanted)
        assert len(stream._resident) == LAYERS and not stream._ring


def test_one_block_alone():
    model = make(layers=1)
    wanted = output(model)
    with streaming([StreamedModel(model)], CPU):
        assert output(model).equal(wanted) and output(model).equal(wanted)


def test_the_text_encoder_streams_and_its_embedding_table_stays_home(tiny_demo):
    encoder = UMT5EncoderModel.from_pretrained(tiny_demo / "text_encoder", dtype=torch.float32).eval()
    tokens = torch.tensor([[3, 4, 5, 1]])
    wanted = encoder(tokens).last_hidden_state
    table = encoder.shared.weight.data_ptr()
    streamed = StreamedModel(encoder)
    assert len(streamed.blocks) == 2
    streamed.move_to_host_memory(pinned=False)
    with streaming([streamed], CPU):
        assert encoder(tokens).last_hidden_state.allclose(wanted, atol=1e-6)
        assert encoder.shared.weight.data_ptr() == table
        assert all(owner is not encoder.shared for owner, _, _ in streamed.outside_blocks())


def test_arenas_are_powers_of_two_and_hold_everything():
    slab = 350 * 2**20
    sizes = arena_sizes([slab] * 40)
    assert all(size & (size - 1) == 0 for size in sizes)
    assert sum(size // slab for size in sizes) >= 40 and sum(sizes) < 1.2 * 40 * slab
    assert arena_sizes([10]) == [16] and arena_sizes([]) == []
