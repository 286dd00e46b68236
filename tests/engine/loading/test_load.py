"""Loading is strict: tensors that the libraries would fill with random numbers are an error."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.support import tiny
from wan_pipeline.engine.loading.load import load_denoiser, load_text_encoder, quiet_libraries
from wan_pipeline.errors import ModelError
from wan_pipeline.models.library import ModelLibrary

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def quiet():
    quiet_libraries()


@pytest.fixture
def model(settings, tmp_path):
    """A demo of this test's own, to be damaged."""
    folder = shutil.copytree(settings.demo_checkpoint, tmp_path / "copy")
    return ModelLibrary(replace(settings, demo_checkpoint=folder)).find("demo")


def weights(model, component):
    return next((model.folder / component).glob("*.safetensors"))


def test_loads_in_eval_mode_and_in_the_right_types(model):
    denoiser = load_denoiser(model, CPU, torch.bfloat16)
    assert not denoiser.transformer.training and not denoiser.vae.training
    assert denoiser.transformer.dtype == torch.bfloat16
    assert {parameter.dtype for parameter in denoiser.vae.parameters()} == {torch.float32}
    assert denoiser.expand_timesteps
    assert denoiser.image_encoder is None and denoiser.image_processor is None


def test_a_model_with_an_image_encoder_loads_it(settings):
    tiny.write_wan21_image(settings.models / "wan2.1-i2v-14b-480p")
    denoiser = load_denoiser(ModelLibrary(settings).find("wan2.1-i2v-14b-480p"), CPU, torch.float32)
    assert denoiser.image_encoder is not None and denoiser.image_processor is not None
    assert not denoiser.expand_timesteps


def test_a_model_of_two_experts_loads_both(settings):
    tiny.write_experts_text(settings.models / "wan2.2-t2v-a14b")
    denoiser = load_denoiser(ModelLibrary(settings).find("wan2.2-t2v-a14b"), CPU, torch.float32)
    assert denoiser.boundary_ratio == 0.875 and len(denoiser.transformers) == 2
    first, second = (next(transformer.parameters()) for transformer in denoiser.transformers)
    assert not torch.equal(first, second)


def test_a_second_expert_without_a_boundary_is_an_error(model):
    index = model.index() | {"transformer_2": ["diffusers", "WanTransformer3DModel"]}
    (model.folder / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(ModelError, match="two experts and a boundary_ratio belong together"):
        load_denoiser(model, CPU, torch.float32)


@pytest.mark.parametrize("component", ["transformer", "vae"])
def test_a_tensor_missing_from_a_whole_file_is_an_error(model, component):
    tensors = load_file(weights(model, component))
    first = min(tensors)
    del tensors[first]
    save_file(tensors, weights(model, component), metadata={"format": "pt"})
    with pytest.raises(ModelError, match=f"1 tensors are missing or misshapen, first {first}"):
        load_denoiser(model, CPU, torch.float32)


def test_a_tensor_missing_from_the_text_encoder_is_an_error(model):
    tensors = load_file(weights(model, "text_encoder"))
    del tensors["encoder.final_layer_norm.weight"]
    save_file(tensors, weights(model, "text_encoder"), metadata={"format": "pt"})
    with pytest.raises(ModelError, match="final_layer_norm"):
        load_text_encoder(model, CPU, torch.float32)


@pytest.mark.parametrize(("value", "words"), [(0.0, "are all zero"), (float("nan"), "are not numbers")])
def test_an_embedding_table_without_values_is_an_error(model, value, words):
    tensors = load_file(weights(model, "text_encoder"))
    (name,) = [name for name in tensors if "shared" in name or "embed_tokens" in name]
    tensors[name][:] = value
    save_file(tensors, weights(model, "text_encoder"), metadata={"format": "pt"})
    with pytest.raises(ModelError, match=f"its word embeddings {words}"):
        load_text_encoder(model, CPU, torch.float32)


def test_parts_of_two_models_are_an_error(settings):
    folder = tiny.write_wan21_text(settings.models / "wan2.1-t2v-1.3b")
    shutil.rmtree(folder / "vae")
    shutil.copytree(settings.demo_checkpoint / "vae", folder / "vae")
    with pytest.raises(ModelError, match="takes 16 channels, and the VAE gives 48; its parts are of different models"):
        load_denoiser(ModelLibrary(settings).find("wan2.1-t2v-1.3b"), CPU, torch.float32)


def test_weights_of_another_size_are_an_error(model):
    path = model.folder / "transformer" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"ffn_dim": 128}))
    with pytest.raises(ModelError, match="transformer"):
        load_denoiser(model, CPU, torch.float32)


def test_a_damaged_tokenizer_is_an_error(model):
    (model.folder / "tokenizer" / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelError, match="tokenizer"):
        load_text_encoder(model, CPU, torch.float32)


def test_a_file_that_vanishes_between_check_and_load_is_an_error(model):
    weights(model, "vae").unlink()
    with pytest.raises(ModelError, match="vae"):
        load_denoiser(model, CPU, torch.float32)
