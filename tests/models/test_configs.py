"""Configurations that somebody else wrote: each that cannot be used is one sentence, whoever reads it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.support import tiny
from tests.support.hostile import BAD_JSON, BAD_VALUES, short
from wan_pipeline.errors import ModelError
from wan_pipeline.models.entries import Status
from wan_pipeline.models.library import ModelLibrary
from wan_pipeline.models.manager import ModelManager
from wan_pipeline.models.reading.configs import MAX_CONFIG_BYTES, components, read_config
from wan_pipeline.models.reading.inspect import check_parts, inspect, read_layout

MODEL = "wan2.1-t2v-14b"
SHARDS = "transformer/diffusion_pytorch_model.safetensors.index.json"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_wan21_text(tmp_path_factory.mktemp("written") / MODEL)


@pytest.fixture
def folder(settings, written: Path) -> Path:
    return shutil.copytree(written, settings.models / MODEL)


def read(folder: Path):
    return lambda name: read_config(folder / name)


@pytest.mark.parametrize("text", BAD_JSON.values(), ids=BAD_JSON)
def test_what_is_no_table_of_settings_is_a_sentence(tmp_path, text):
    path = tmp_path / "config.json"
    path.write_bytes(text)
    with pytest.raises(ModelError, match=r"config\.json cannot be read"):
        read_config(path)


def test_an_endless_file_is_not_read_to_its_end(tmp_path):
    path = tmp_path / "config.json"
    with path.open("wb") as file:
        file.truncate(100 * MAX_CONFIG_BYTES)
    with pytest.raises(ModelError, match=f"larger than {MAX_CONFIG_BYTES >> 20} MB"):
        read_config(path)


@pytest.mark.parametrize("text", BAD_JSON.values(), ids=BAD_JSON)
@pytest.mark.parametrize("name", ["model_index.json", SHARDS])
def test_a_bad_index_is_a_damaged_model_and_the_others_stay(settings, folder, name, text):
    (folder / name).write_bytes(text)
    library = ModelLibrary(settings)
    with pytest.raises(ModelError, match="put the model's files there again"):
        library.find(MODEL)
    entries = {entry.spec.id: entry for entry in ModelManager(settings, library).entries()}
    assert (entries[MODEL].status, entries["demo"].status) == (Status.DAMAGED, Status.INSTALLED)
    assert [model.spec.id for model in library.installed()] == ["demo"]


@pytest.mark.parametrize("value", [*BAD_VALUES, {"a": "../../x.safetensors"}, {"a": "/x.safetensors"}, {"a": ["x"]}])
def test_an_index_of_shards_names_files_of_its_own_folder(settings, folder, value):
    (folder / SHARDS).write_text(json.dumps({"weight_map": value}))
    with pytest.raises(ModelError):
        ModelLibrary(settings).find(MODEL)


@pytest.mark.parametrize(
    ("entry", "found"),
    [
        (["diffusers", "AutoencoderKLWan"], True),
        ([None, None], False),
        (["diffusers"], False),
        (["diffusers", None], False),
        ([[], {}], False),
        *[(value, False) for value in BAD_VALUES],
    ],
)
def test_a_component_is_a_library_and_a_class(entry, found):
    assert components({"vae": entry, "_class_name": "WanPipeline"}) == ({"vae": "AutoencoderKLWan"} if found else {})


@pytest.mark.parametrize("name", ["../vae", "a/b", "a\\b", "..", "", "_hidden", "/vae", "C:"])
def test_a_component_is_a_folder_of_the_model(name):
    assert components({name: ["diffusers", "AutoencoderKLWan"]}) == {}


@pytest.mark.parametrize("value", BAD_VALUES, ids=short)
@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("model_index.json", "_class_name"),
        ("model_index.json", "boundary_ratio"),
        ("model_index.json", "expand_timesteps"),
        ("model_index.json", "vae"),
        ("transformer/config.json", "patch_size"),
        ("transformer/config.json", "num_layers"),
        ("transformer/config.json", "image_dim"),
        ("transformer/config.json", "vace_layers"),
        ("vae/config.json", "z_dim"),
        ("vae/config.json", "latents_std"),
        ("vae/config.json", "scale_factor_spatial"),
        ("text_encoder/config.json", "d_model"),
        ("scheduler/scheduler_config.json", "flow_shift"),
    ],
)
def test_a_value_of_another_kind_is_a_sentence_or_means_nothing(folder, name, key, value):
    path = folder / name
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    try:
        spec = inspect("mine", "Mine", read(folder))
    except ModelError as error:
        assert str(error).startswith(("Mine ", f"{path} cannot be read")) and len(str(error)) < 600
    else:
        assert spec.size_multiple > 0 and spec.memory.layers > 0 and 0 < spec.flow_shift <= 1000


@pytest.mark.parametrize("text", BAD_JSON.values(), ids=BAD_JSON)
@pytest.mark.parametrize("name", ["transformer/config.json", "vae/config.json", "text_encoder/config.json"])
def test_the_engine_is_told_of_bad_configurations_by_a_model_error(folder, name, text):
    (folder / name).write_bytes(text)
    layout = read_layout("Mine", read_config(folder / "model_index.json"))
    with pytest.raises(ModelError, match="cannot be read"):
        check_parts("Mine", layout, read(folder))


def test_the_sentence_names_the_model_the_file_and_the_key(folder):
    path = folder / "transformer/config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"num_layers": -3}))
    with pytest.raises(ModelError, match=r"Mine cannot be used: transformer/config\.json: 'num_layers' = -3: "):
        inspect("mine", "Mine", read(folder))
