"""What an imported model costs comes from its own configurations."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKLWan
from transformers import CLIPVisionConfig, CLIPVisionModel, UMT5Config, UMT5EncoderModel

from tests.support import tiny
from tests.support.observers import Watcher
from wan_pipeline.lora.library import LoraLibrary
from wan_pipeline.models import registry
from wan_pipeline.models.library import ModelLibrary
from wan_pipeline.models.manager import ModelManager
from wan_pipeline.models.reading.configs import ImageEncoderConfig, TextEncoderConfig, VaeConfig, read_config
from wan_pipeline.models.reading.inspect import inspect
from wan_pipeline.models.reading.parameters import image_encoder_params, text_params, text_table_params, vae_params
from wan_pipeline.planning.machine import GIB, without_device
from wan_pipeline.planning.planner import Planner
from wan_pipeline.requests.own_clip import own_request
from wan_pipeline.settings import Settings
from wan_pipeline.storage.outside import parse

WAN22 = {
    "base_dim": 160,
    "decoder_base_dim": 256,
    "z_dim": 48,
    "is_residual": True,
    "in_channels": 12,
    "out_channels": 12,
    "patch_size": 2,
    "latents_mean": [0.0] * 48,
    "latents_std": [1.0] * 48,
}
UMT5_XXL = {"vocab_size": 256_384, "d_model": 4096, "d_kv": 64, "d_ff": 10240, "num_layers": 24, "num_heads": 64}
CLIP_H = {"hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32, "num_attention_heads": 16}


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("settings", [{}, WAN22, {"base_dim": 32, "dim_mult": [1, 1, 1, 1], "num_res_blocks": 1}])
def test_25_the_vae_is_counted(settings):
    with torch.device("meta"):
        vae = AutoencoderKLWan(**settings)
    assert vae_params(parse(VaeConfig, dict(vae.config))) == pytest.approx(count(vae), rel=0.1)


def test_25_the_encoders_are_counted():
    with torch.device("meta"):
        text = UMT5EncoderModel(UMT5Config(**UMT5_XXL, feed_forward_proj="gated-gelu"))
        image = CLIPVisionModel(CLIPVisionConfig(**CLIP_H))
    config = parse(TextEncoderConfig, UMT5_XXL)
    assert text_params(config) == pytest.approx(count(text), rel=0.01)
    assert text_table_params(config) == text.get_input_embeddings().weight.numel()
    assert image_encoder_params(parse(ImageEncoderConfig, CLIP_H)) == pytest.approx(count(image), rel=0.01)


def test_25_the_facts_in_the_registry_are_what_the_configurations_say():
    folder = Settings().demo_checkpoint
    found, known = inspect("mine", "Mine", lambda name: read_config(folder / name)).memory, registry.DEMO.memory
    for name, value in vars(known).items():
        assert getattr(found, name) == pytest.approx(value, rel=0.06), name


@pytest.mark.parametrize("in_one_file", [False, True])
def test_25_an_imported_model_of_few_megabytes_is_forecast_with_little(settings: Settings, tmp_path: Path, in_one_file):
    models = ModelManager(settings, ModelLibrary(settings))
    if in_one_file:
        folder = tiny.write_wan21_text(settings.models / "wan2.1-t2v-14b")
        (file,) = (folder / "transformer").glob("*.safetensors")
        spec = models.import_files([file], "wan2.1-t2v-14b", Watcher(), "mine").spec
    else:
        spec = models.import_folder(tiny.write_wan21_text(tmp_path / "tiny"), "mine").spec
    planner = Planner(settings, LoraLibrary(settings.loras))
    made = planner.choose(own_request(spec), spec, without_device(64 * GIB))
    assert made.peak_ram < 6 * GIB
    assert spec.memory.text_params < 1e6
