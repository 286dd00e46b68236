"""Alignment: weights give the same bits wherever a file puts them, because nothing computes from unaligned memory."""

from __future__ import annotations

import shutil

import pytest
import torch
from diffusers import WanTransformer3DModel
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import UMT5Config, UMT5EncoderModel

from tests.engine.memory.test_block_streaming import CPU, make
from tests.engine.memory.test_quantize import bits, empty, output, same
from tests.support import adapters, tiny
from wan_pipeline.engine.device.placement import Placement
from wan_pipeline.engine.loading.load import load_denoiser, load_text_encoder, quiet_libraries
from wan_pipeline.engine.loading.loaded import load
from wan_pipeline.engine.lora.adapters import AdapterHome, read_weights
from wan_pipeline.engine.memory.alignment import align, aligned, is_aligned, save_aligned
from wan_pipeline.engine.memory.block_streaming import StreamedModel, streaming
from wan_pipeline.engine.memory.inner_tensors import inner_tensors, named_tensors
from wan_pipeline.engine.memory.quantize import cast, load_quantized, map_weights, quantize, save_quantized, skeleton
from wan_pipeline.engine.memory.weights import quantized_file
from wan_pipeline.engine.text import EmbeddingCache, embed
from wan_pipeline.lora.adapter import match_adapter
from wan_pipeline.models.library import ModelLibrary
from wan_pipeline.models.precision import Precision
from wan_pipeline.planning.memory_plan import read_plan

PLACE = Placement(CPU, torch.float32)
OFFSETS = range(8, 64, 8)
"""Bytes past a 64-byte boundary; safetensors pads headers to multiples of 8."""


def shift(path, offset: int) -> None:
    """Write the file again with its data `offset` bytes past a 64-byte boundary, as any program may write it."""
    data = path.read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    header = data[8:end].rstrip()
    header += b" " * ((offset - 8 - len(header)) % 64)
    path.write_bytes(len(header).to_bytes(8, "little") + header + data[end:])


def shift_all(folder) -> None:
    for path in folder.rglob("*.safetensors"):
        shift(path, 8)


def unaligned(entries) -> list[str]:
    return [name for _, name, tensor in entries if not all(map(is_aligned, inner_tensors(tensor)))]


@pytest.fixture
def model(settings, tmp_path):
    """A demo of this test's own, its weights in fp32, all of them unaligned in their files."""
    quiet_libraries()
    folder = shutil.copytree(settings.demo_checkpoint, settings.models / "wan2.2-ti2v-5b")
    for path in folder.rglob("*.safetensors"):
        save_file({name: value.float() for name, value in load_file(path).items()}, path, metadata={"format": "pt"})
    shift_all(folder)
    return ModelLibrary(settings).find("wan2.2-ti2v-5b")


@pytest.mark.parametrize("offset", OFFSETS)
def test_mapped_at_any_offset_weights_compute_the_same_bits(tmp_path, offset):
    model = make(layers=1)
    path = tmp_path / "weights.safetensors"
    save_file(model.state_dict(), path)
    shift(path, offset)
    mapped = empty(model)
    map_weights(mapped, [path])
    assert unaligned(named_tensors(mapped))
    align(named_tensors(mapped))
    assert not unaligned(named_tensors(mapped))
    assert same(bits(mapped), bits(model)) and output(mapped).equal(output(model))


@pytest.mark.parametrize("precision", [Precision.BF16, Precision.INT8, Precision.FP8, Precision.INT4])
def test_a_file_written_here_is_aligned_but_for_odd_sizes_at_its_end(tmp_path, precision):
    model = make(precision)
    path = tmp_path / "file"
    save_quantized(model, path, "a")
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    askew = [name for name, tensor in tensors.items() if not is_aligned(tensor)]
    assert all(tensors[name].nbytes % 64 for name in askew)
    assert sum(tensors[name].nbytes for name in askew) < 0.05 * sum(tensor.nbytes for tensor in tensors.values())
    loaded = empty(model)
    assert load_quantized(loaded, path, "a") and same(bits(loaded), bits(model))


def test_every_dtype_shape_and_layout_is_written_as_it_is(tmp_path):
    tensors = {
        "scalar": torch.tensor(1.5),
        "empty": torch.empty(0, 3),
        "mask": torch.tensor([True, False, True]),
        "half": torch.randn(5, 3).half(),
        "fp8": torch.randn(4, 4).to(torch.float8_e4m3fn),
        "long": torch.arange(7),
        "transposed": torch.randn(3, 5).T,
    }
    save_aligned(tensors, tmp_path / "file", {"format": "pt", "source": "é"})
    read = load_file(tmp_path / "file")
    assert read.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert read[name].dtype is tensor.dtype and read[name].shape == tensor.shape
        assert torch.equal(read[name].float(), tensor.float()), name
    with safe_open(tmp_path / "file", framework="pt") as file:
        assert file.metadata() == {"format": "pt", "source": "é"}


def test_tied_weights_stay_tied(tiny_demo, tmp_path):
    path = tmp_path / "model.safetensors"
    encoder = UMT5EncoderModel.from_pretrained(tiny_demo / "text_encoder", dtype=torch.float32)
    save_file({"shared.weight": encoder.shared.weight.data}, path)
    shift(path, 8)
    table = load_file(path)["shared.weight"]
    pair = torch.nn.ModuleList([torch.nn.Embedding(*table.shape, _weight=table) for _ in range(2)])
    assert len(unaligned(named_tensors(pair))) == 2
    align(named_tensors(pair))
    assert pair[0].weight.data_ptr() == pair[1].weight.data_ptr() and not unaligned(named_tensors(pair))


def test_aligned_tensors_are_not_copied():
    tensor = torch.zeros(100)
    assert aligned(tensor) is tensor
    assert aligned(tensor[1:]).data_ptr() % 64 == 0 and aligned(tensor[16:]).data_ptr() == tensor[16:].data_ptr()


def test_modules_loaded_by_the_libraries_are_aligned(model):
    denoiser = load_denoiser(model, CPU, torch.float32)
    _, encoder = load_text_encoder(model, CPU, torch.float32)
    for module in (denoiser.transformer, denoiser.vae, encoder):
        assert not unaligned(named_tensors(module))


def test_the_image_encoder_is_aligned(settings):
    folder = tiny.write_wan21_image(settings.models / "wan2.1-i2v-14b-480p")
    shift_all(folder)
    denoiser = load_denoiser(ModelLibrary(settings).find("wan2.1-i2v-14b-480p"), CPU, torch.float32)
    assert not unaligned(named_tensors(denoiser.image_encoder))


@pytest.mark.parametrize("plan", ["resident,fp32", "offload,fp32", "resident,int8", "resident,fp8", "resident,int4"])
def test_everything_that_computes_is_aligned(model, settings, plan):
    weights = settings.cache / "weights"
    for _ in range(2):  # from a fresh file of quantized weights, and from one whose tensors are all unaligned
        loaded = load(model, "key", read_plan(plan), PLACE, weights)
        for module in (*loaded.denoiser.transformers, loaded.denoiser.vae):
            assert not unaligned(named_tensors(module))
        shift_all(settings.cache)


def find_unaligned(module, found: list[str]) -> None:
    """Note the unaligned tensors of each part of the module when its forward begins."""
    for part in module.modules():
        names = [name for owner, name, _ in named_tensors(part) if owner is part]
        part.register_forward_pre_hook(
            lambda part, _, names=names: found.extend(unaligned((part, name, getattr(part, name)) for name in names))
        )


@pytest.mark.parametrize(
    "plan", ["streamed,fp32", "streamed,int8,blocks=1", "streamed,fp32,disk=1", "streamed,int4,disk=1"]
)
def test_everything_that_computes_while_streaming_is_aligned(model, settings, plan):
    memory, found = read_plan(plan), []
    load(model, "key", memory, PLACE, settings.cache / "weights")
    shift_all(settings.cache)
    loaded = load(model, "key", memory, PLACE, settings.cache / "weights")
    with loaded.denoising(memory, CPU):
        find_unaligned(loaded.denoiser.transformer, found)
        output(loaded.denoiser.transformer)
    assert not found and not unaligned(named_tensors(loaded.denoiser.vae))


def test_a_streamed_text_encoder_is_aligned_but_for_its_embedding_table(model):
    encoder = skeleton(lambda: UMT5EncoderModel(UMT5Config.from_dict(model.config("text_encoder"))))
    map_weights(encoder, model.component_files("text_encoder"))
    found = []
    with streaming([StreamedModel(encoder)], CPU):
        find_unaligned(encoder.encoder.block, found)
        find_unaligned(encoder.encoder.final_layer_norm, found)
        encoder(torch.tensor([[3, 4, 5, 1]]))
    assert not found


def test_adapters_are_aligned(settings):
    path = adapters.write(settings.loras / "style.safetensors")
    shift(path, 8)
    layers = read_weights(match_adapter(path, ModelLibrary(settings).find("demo")), AdapterHome(CPU, torch.float32))
    updates = [update for updates in layers.values() for update in updates]
    assert updates and all(is_aligned(tensor) for update in updates for tensor in update.tensors.values())


def test_a_cached_prompt_is_aligned(model, settings):
    for _ in range(2):
        (embedding,) = embed(model, ["the red ball"], EmbeddingCache(settings.cache / "prompts"), PLACE)
        assert is_aligned(embedding)
        shift_all(settings.cache / "prompts")


def test_quantized_from_an_unaligned_file_weights_are_the_same(model, settings, tmp_path):
    transformer = WanTransformer3DModel.from_pretrained(model.folder / "transformer", torch_dtype=torch.float32)
    wanted = empty(transformer)
    map_weights(wanted, model.component_files("transformer"))
    align(named_tensors(wanted))
    cast(wanted, torch.float32)
    quantize(wanted, Precision.INT8, torch.float32)
    load(model, "key", read_plan("streamed,int8"), PLACE, settings.cache)
    made = load_file(quantized_file(model, "transformer", Precision.INT8, settings.cache))
    assert same(made, bits(wanted))
