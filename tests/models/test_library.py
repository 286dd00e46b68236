"""Which models are found, and what is said of those that are not there or not whole."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import huggingface_hub.constants
import pytest

from wan_pipeline.errors import ModelError
from wan_pipeline.models import registry
from wan_pipeline.models.files import fingerprint
from wan_pipeline.models.library import ModelLibrary
from wan_pipeline.models.spec import Availability


@pytest.fixture
def copy(settings, tmp_path) -> Path:
    """A demo checkpoint of this test's own, to be damaged; `settings` of the library built on it name it."""
    return shutil.copytree(settings.demo_checkpoint, tmp_path / "copy")


@pytest.fixture
def library(settings, copy, monkeypatch) -> ModelLibrary:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(settings.workspace / "hub"))
    return ModelLibrary(replace(settings, demo_checkpoint=copy))


def test_the_bundled_demo_is_found(library, copy):
    assert [model.spec.id for model in library.installed()] == ["demo"]
    model = library.find("demo")
    assert model.folder == copy
    assert model.config("transformer")["num_layers"] == 2
    assert model.revision is None


def test_weight_files_are_those_of_the_components_alone(library, copy):
    (copy / "notes.safetensors").write_bytes(b"not of the model")
    files = library.find("demo").weight_files()
    assert list(files) == [
        "text_encoder/model.safetensors",
        "transformer/diffusion_pytorch_model.safetensors",
        "vae/diffusion_pytorch_model.safetensors",
    ]
    assert all(path.is_file() for path in files.values())


def test_a_folder_named_after_a_known_model_is_found(library, settings, copy):
    shutil.copytree(copy, settings.models / "wan2.1-t2v-1.3b")
    assert library.find("wan2.1-t2v-1.3b").folder == settings.models / "wan2.1-t2v-1.3b"
    assert [model.spec.id for model in library.installed()] == ["demo", "wan2.1-t2v-1.3b"]


def test_a_snapshot_in_the_hugging_face_cache_is_found(library, settings, copy):
    repo = settings.workspace / "hub" / "models--Wan-AI--Wan2.1-T2V-1.3B-Diffusers"
    shutil.copytree(copy, repo / "snapshots" / "0123abc")
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text("0123abc")
    model = library.find("wan2.1-t2v-1.3b")
    assert (model.folder, model.revision) == (repo / "snapshots" / "0123abc", "0123abc")


def test_an_unknown_id_lists_the_known_ones(library):
    with pytest.raises(ModelError, match=r"no model 'wan9'; choose one of: demo"):
        library.find("wan9")


def test_a_known_model_that_is_not_installed_says_how_to_get_it(library, settings):
    with pytest.raises(ModelError, match="not installed") as caught:
        library.find("wan2.2-ti2v-5b")
    assert str(settings.models / "wan2.2-ti2v-5b") in str(caught.value)
    assert "python -m wan_pipeline models download wan2.2-ti2v-5b" in str(caught.value)


def test_an_announced_model_says_so(library, monkeypatch):
    spec = replace(registry.DEMO, id="wan3", title="Wan 3", availability=Availability.ANNOUNCED)
    monkeypatch.setitem(registry.MODELS, "wan3", spec)
    with pytest.raises(ModelError, match="Wan 3 is announced"):
        library.find("wan3")


def test_a_missing_demo_says_where_it_should_be(library, copy):
    shutil.rmtree(copy)
    with pytest.raises(ModelError, match="check the repository out again"):
        library.find("demo")
    assert library.installed() == []


@pytest.mark.parametrize("component", ["transformer", "vae", "text_encoder"])
def test_a_missing_weight_file_is_a_sentence(library, copy, component):
    for path in (copy / component).glob("*.safetensors"):
        path.unlink()
    with pytest.raises(ModelError, match=r"no \.safetensors weights; put the model's files there again"):
        library.find("demo")


@pytest.mark.parametrize("component", ["transformer", "vae", "text_encoder"])
def test_a_truncated_weight_file_is_a_sentence(library, copy, component):
    path = next((copy / component).glob("*.safetensors"))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ModelError, match="bytes where its header describes"):
        library.find("demo")


def test_a_missing_shard_is_a_sentence(library, copy):
    path = next((copy / "transformer").glob("*.safetensors"))
    index = {"weight_map": {"a": path.name, "b": "absent-00002.safetensors"}}
    (copy / "transformer" / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelError, match=r"absent-00002\.safetensors: it is missing"):
        library.find("demo")


def test_a_missing_component_is_a_sentence(library, copy):
    shutil.rmtree(copy / "tokenizer")
    with pytest.raises(ModelError, match="tokenizer: it is missing"):
        library.find("demo")


@pytest.mark.parametrize("text", ["", "{", "[]"])
def test_an_unreadable_index_is_a_sentence(library, copy, text):
    (copy / "model_index.json").write_text(text)
    with pytest.raises(ModelError, match=r"model_index\.json"):
        library.find("demo")


def test_the_fingerprint_is_of_the_content_not_of_the_place(copy, settings):
    assert fingerprint(copy) == fingerprint(settings.demo_checkpoint)


def test_retrained_weights_of_the_same_size_have_another_fingerprint(copy):
    before = fingerprint(copy)
    path = next((copy / "text_encoder").glob("*.safetensors"))
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert fingerprint(copy) != before


def test_a_changed_configuration_has_another_fingerprint(copy):
    before = fingerprint(copy)
    path = copy / "scheduler" / "scheduler_config.json"
    path.write_text(path.read_text() + "\n")
    assert fingerprint(copy) != before
