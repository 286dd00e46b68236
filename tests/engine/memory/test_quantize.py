"""Quantized weights: their error, and that a file gives them back bit for bit."""

from __future__ import annotations

import pytest
import torch
from diffusers import WanTransformer3DModel
from optimum.quanto import QTensor, WeightQBitsTensor, quantization_map
from optimum.quanto.tensor.grouped import ungroup
from safetensors.torch import load_file, save_file
from transformers import UMT5EncoderModel

from tests.support import tiny
from wan_pipeline.engine.lora.adapters import LowRank, applied
from wan_pipeline.engine.memory.inner_tensors import inner_tensors, map_tensors, named_tensors
from wan_pipeline.engine.memory.quantize import (
    cast,
    load_quantized,
    map_weights,
    quantize,
    save_quantized,
    skeleton,
)
from wan_pipeline.engine.memory.quantized_layers import dequantized
from wan_pipeline.errors import ModelError
from wan_pipeline.lora.reading.keys import Role
from wan_pipeline.models.precision import Precision

QUANTIZED = [Precision.INT8, Precision.FP8, Precision.INT4]
ERROR = {Precision.INT8: 0.02, Precision.FP8: 0.06, Precision.INT4: 0.2}
"""Of one layer's output, relative."""


@pytest.fixture
def transformer(tiny_demo):
    return WanTransformer3DModel.from_pretrained(tiny_demo / "transformer", torch_dtype=torch.float32).eval()


def empty(model):
    return skeleton(lambda: type(model).from_config(model.config))


def inputs():
    generator = torch.Generator().manual_seed(0)
    return {
        "hidden_states": torch.randn(1, 48, 3, 4, 6, generator=generator),
        "timestep": torch.tensor([500.0]),
        "encoder_hidden_states": torch.randn(1, 8, tiny.HIDDEN, generator=generator),
    }


def output(model):
    with torch.inference_mode():
        return model(**inputs(), return_dict=False)[0]


def bits(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(ours, others):
    return ours.keys() == others.keys() and all(
        ours[name].view(torch.uint8).equal(others[name].view(torch.uint8))
        if ours[name].dim()
        else bool(ours[name] == others[name])
        for name in ours
    )


def quantos_own(weight):
    """`weight.dequantize()`; for four bits without the operator that compiles an extension first."""
    if not isinstance(weight, WeightQBitsTensor):
        return weight.dequantize()
    packed = weight._data._data
    values = torch.cat([packed & 0x0F, (packed & 0xF0) >> 4])[: weight._data.shape[0]]
    return ungroup(weight._scale * values - weight._shift, axis=0, orig_shape=weight.shape)


@pytest.mark.parametrize("precision", QUANTIZED)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("width", [64, 256])
def test_a_layer_computes_nearly_the_same(precision, dtype, width):
    torch.manual_seed(0)
    layer = torch.nn.Linear(width, 128)
    block = torch.nn.Module()
    block.blocks = torch.nn.ModuleList([torch.nn.Sequential(layer)])
    x = torch.randn(50, width)
    wanted = layer(x)
    quantize(block, precision, dtype)
    quantized = block.blocks[0][0]
    assert dequantized(quantized.weight).equal(quantos_own(quantized.weight))
    assert dequantized(quantized.weight).dtype == dtype
    error = (quantized(x.to(dtype)).float() - wanted).norm() / wanted.norm()
    assert 0 < error < ERROR[precision]


@pytest.mark.parametrize("precision", QUANTIZED)
def test_saved_and_loaded_without_the_originals_bit_for_bit(transformer, tmp_path, precision):
    quantize(transformer, precision, torch.float32)
    path = tmp_path / "transformer.safetensors"
    save_quantized(transformer, path, "a")
    loaded = empty(transformer)
    assert load_quantized(loaded, path, "a")
    assert same(bits(loaded), bits(transformer))
    assert output(loaded).equal(output(transformer))
    assert quantization_map(loaded) == quantization_map(transformer) and len(quantization_map(loaded)) == 20


def _quantized(module) -> list[torch.Tensor]:
    return [tensor for tensor in module.parameters() if isinstance(tensor, QTensor)]


def test_only_the_blocks_are_quantized_and_they_are_smaller(transformer):
    def size(module):
        return sum(inner.nbytes for _, _, tensor in named_tensors(module) for inner in inner_tensors(tensor))

    before = size(transformer.blocks)
    quantize(transformer, Precision.INT8, torch.float32)
    assert _quantized(transformer.blocks) and not _quantized(transformer.condition_embedder)
    assert type(transformer.proj_out) is torch.nn.Linear
    assert size(transformer.blocks) < 0.45 * before


def test_a_file_of_another_source_is_not_taken(transformer, tmp_path):
    quantize(transformer, Precision.INT8, torch.float32)
    save_quantized(transformer, tmp_path / "file", "a")
    assert not load_quantized(empty(transformer), tmp_path / "file", "b")
    assert not load_quantized(empty(transformer), tmp_path / "none", "a")


@pytest.mark.parametrize("fault", ["cut", "missing", "misshapen", "foreign"])
def test_a_damaged_file_is_a_sentence(transformer, tmp_path, fault):
    quantize(transformer, Precision.INT8, torch.float32)
    path = tmp_path / "file"
    save_quantized(transformer, path, "a")
    if fault == "cut":
        path.write_bytes(path.read_bytes()[:-100])
    else:
        from safetensors import safe_open

        with safe_open(path, "pt") as file:
            metadata = file.metadata()
        tensors = load_file(path)
        match fault:
            case "missing":
                del tensors["blocks.1.attn1.to_q.weight._scale"]
            case "misshapen":
                tensors["proj_out.weight"] = torch.zeros(3, 3)
            case "foreign":
                tensors["blocks.7.weight"] = torch.zeros(3)
        save_file(tensors, path, metadata)
    with pytest.raises(ModelError, match=r"is damaged .* remove it, and it is made again"):
        load_quantized(empty(transformer), path, "a")


def test_weights_mapped_from_the_models_own_files_and_quantized_are_the_same(transformer, tiny_demo):
    mapped = empty(transformer)
    map_weights(mapped, (tiny_demo / "transformer").glob("*.safetensors"))
    cast(mapped, torch.float32)
    assert same(bits(mapped), bits(transformer))
    quantize(mapped, Precision.INT8, torch.float32)
    quantize(transformer, Precision.INT8, torch.float32)
    assert same(bits(mapped), bits(transformer))


def test_casting_is_what_the_library_does(tiny_demo):
    theirs = WanTransformer3DModel.from_pretrained(tiny_demo / "transformer", torch_dtype=torch.bfloat16)
    ours = empty(theirs)
    map_weights(ours, (tiny_demo / "transformer").glob("*.safetensors"))
    cast(ours, torch.bfloat16)
    stored, wanted = bits(ours), bits(theirs)
    assert same(stored, wanted)


def test_a_text_encoder_with_a_tied_embedding_table(tiny_demo, tmp_path):
    encoder = UMT5EncoderModel.from_pretrained(tiny_demo / "text_encoder", dtype=torch.float32).eval()
    quantize(encoder, Precision.INT8, torch.float32)
    save_quantized(encoder, tmp_path / "file", "a")
    loaded = skeleton(lambda: UMT5EncoderModel(encoder.config))
    assert load_quantized(loaded, tmp_path / "file", "a")
    tokens = torch.tensor([[3, 4, 5, 1]])
    assert same(bits(loaded), bits(encoder))
    assert loaded(tokens).last_hidden_state.allclose(encoder(tokens).last_hidden_state, atol=1e-5)


@pytest.mark.parametrize("precision", QUANTIZED)
def test_an_adapter_works_beside_quantized_weights_and_leaves_no_trace(transformer, precision):
    quantize(transformer, precision, torch.float32)
    before, stored = output(transformer), bits(transformer)
    layer = transformer.get_submodule("blocks.0.attn1.to_q")
    torch.manual_seed(1)
    matrices = {Role.DOWN: torch.randn(2, layer.in_features), Role.UP: torch.randn(layer.out_features, 2)}
    adapter = {"blocks.0.attn1.to_q": [LowRank(matrices)]}
    with applied(transformer, [adapter]):
        assert not output(transformer).equal(before)
    assert output(transformer).equal(before) and same(bits(transformer), stored)


@pytest.mark.parametrize("precision", QUANTIZED)
def test_mapping_tensors_keeps_quantos_plain_packing(transformer, precision):
    quantize(transformer, precision, torch.bfloat16)
    kinds = {name: type(tensor) for name, tensor in transformer.named_parameters()}
    map_tensors(transformer, torch.Tensor.clone)
    assert {name: type(tensor) for name, tensor in transformer.named_parameters()} == kinds


def test_half_precision_is_left_alone(transformer):
    before = bits(transformer)
    quantize(transformer, Precision.BF16, torch.float32)
    assert same(bits(transformer), before)
