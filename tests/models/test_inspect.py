"""A model is what its configurations say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support import tiny
from wan_pipeline.errors import ModelError
from wan_pipeline.models.importing.imported import ImportedModel, ImportedModels
from wan_pipeline.models.reading.configs import read_config
from wan_pipeline.models.reading.inspect import inspect
from wan_pipeline.models.spec import LastImage, Mode, ModelSpec


def look(folder: Path) -> ModelSpec:
    return inspect("mine", "Mine", lambda name: read_config(folder / name))


def change(folder: Path, file: str, **values: object) -> None:
    path = folder / file
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize(
    ("write", "abilities"),
    [
        (tiny.write_demo, ("image-to-video", "text-to-video")),
        (tiny.write_wan21_text, ("text-to-video",)),
        (tiny.write_wan21_image, ("image-to-video",)),
        (tiny.write_first_last, ("image-to-video", "first-last-frame")),
        (tiny.write_experts_text, ("text-to-video",)),
        (tiny.write_experts_image, ("image-to-video", "first-last-frame")),
        (tiny.write_vace, ("text-to-video", "control")),
    ],
)
def test_every_family_is_told_by_its_configurations(tmp_path, write, abilities):
    assert look(write(tmp_path / "anything")).abilities == abilities


def test_the_grid_is_of_the_vae_and_the_patches(tmp_path):
    small, large = look(tiny.write_wan21_text(tmp_path / "a")), look(tiny.write_demo(tmp_path / "b"))
    assert (small.size_multiple, small.spatial_compression, small.fps, small.num_frames) == (16, 8, 16, 81)
    assert (large.size_multiple, large.spatial_compression, large.fps, large.num_frames) == (32, 16, 24, 121)
    assert (small.latent_channels, large.latent_channels) == (16, 48)


def test_two_experts_have_two_guidances_and_last_images_are_told(tmp_path):
    text, image = look(tiny.write_experts_text(tmp_path / "t")), look(tiny.write_experts_image(tmp_path / "i"))
    assert (text.guidance_scale, text.guidance_scale_2, text.num_inference_steps) == (4.0, 3.0, 40)
    assert (image.guidance_scale_2, image.last_image, image.modes) == (
        3.5,
        LastImage.OPTIONAL,
        frozenset({Mode.IMAGE_TO_VIDEO}),
    )
    assert look(tiny.write_first_last(tmp_path / "f")).last_image is LastImage.REQUIRED


def test_the_flow_shift_is_the_schedulers(tmp_path):
    folder = tiny.write_wan21_text(tmp_path / "m")
    change(folder, "scheduler/scheduler_config.json", flow_shift=7.5)
    assert look(folder).flow_shift == 7.5


@pytest.mark.parametrize(
    ("file", "values", "words"),
    [
        ("model_index.json", {"_class_name": "StableDiffusionPipeline"}, "is a StableDiffusionPipeline; this version"),
        (
            "model_index.json",
            {"vae": ["diffusers", "AutoencoderKL"]},
            "vae is a AutoencoderKL where a AutoencoderKLWan",
        ),
        ("model_index.json", {"vae": [None, None]}, "its vae is missing"),
        ("model_index.json", {"scheduler": [None, None]}, "its scheduler is missing"),
        ("model_index.json", {"boundary_ratio": 0.9}, "two experts and a boundary_ratio belong together"),
        ("transformer/config.json", {"in_channels": 36}, "takes 36 channels, and the VAE gives 16"),
        ("transformer/config.json", {"out_channels": 48}, "gives 48 channels, and the VAE takes 16"),
        ("transformer/config.json", {"text_dim": 4096}, "reads texts of width 4096 and the encoder's is 32"),
        (
            "transformer/config.json",
            {"image_dim": 1280},
            "its transformer and its image encoder do not belong together",
        ),
        ("vae/config.json", {"latents_mean": [0.0]}, "latents_mean has 1 entries, and its channels are 16"),
        ("transformer/config.json", {"patch_size": None}, r"transformer/config\.json: 'patch_size' = None"),
    ],
)
def test_what_does_not_fit_together_is_a_sentence(tmp_path, file, values, words):
    folder = tiny.write_wan21_text(tmp_path / "m")
    change(folder, file, **values)
    with pytest.raises(ModelError, match=words):
        look(folder)


def test_a_configuration_that_is_not_there(tmp_path):
    folder = tiny.write_wan21_text(tmp_path / "m")
    (folder / "vae" / "config.json").unlink()
    with pytest.raises(ModelError, match=r"vae.config\.json cannot be read"):
        look(folder)


def test_the_planner_is_told_of_the_transformer_that_is_there(tmp_path):
    memory = look(tiny.write_vace(tmp_path / "v")).memory
    assert (memory.layers, memory.width, memory.feed_forward, memory.text_width) == (2, 48, 64, 32)
    assert (memory.control_layers, memory.experts, memory.reads_images) == (2, 1, False)
    assert look(tiny.write_experts_image(tmp_path / "e")).memory.experts == 2
    assert look(tiny.write_wan21_image(tmp_path / "i")).memory.reads_images
    assert look(tiny.write_demo(tmp_path / "d")).memory.expands_timesteps


def test_what_was_found_out_is_the_same_when_it_is_read_again(tmp_path):
    spec = look(tiny.write_experts_text(tmp_path / "m"))
    ImportedModels(tmp_path / "imported").add(ImportedModel(spec, tmp_path / "m"))
    assert ImportedModels(tmp_path / "imported").all()["mine"] == ImportedModel(spec, tmp_path / "m")
