"""What a Hub may answer: configurations, paths and hashes that nobody should trust."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import huggingface_hub.constants
import pytest

from tests.support.hostile import BAD_JSON
from tests.support.servers.hub import HubServer, hub_server
from wan_pipeline.errors import ModelError
from wan_pipeline.models.hub.client import Hub
from wan_pipeline.models.hub.download import plan_download
from wan_pipeline.models.library import ModelLibrary
from wan_pipeline.models.manager import ModelManager
from wan_pipeline.models.reading.configs import MAX_CONFIG_BYTES

REPO = "tiny/wan"


@pytest.fixture
def published(tiny_demo, tmp_path) -> Path:
    return shutil.copytree(tiny_demo, tmp_path / "published")


@pytest.fixture
def server(published, tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    with hub_server() as server:
        server.publish(REPO, published)
        yield server


def entry(path: str, **changes: object) -> dict[str, object]:
    return {"type": "file", "path": path, "size": 10, "oid": "0" * 40, **changes}


def import_repository(settings, server: HubServer) -> None:
    manager = ModelManager(settings, ModelLibrary(settings), server.url)
    manager.import_repository(REPO)


@pytest.mark.parametrize("text", BAD_JSON.values(), ids=BAD_JSON)
@pytest.mark.parametrize("name", ["model_index.json", "transformer/config.json", "scheduler/scheduler_config.json"])
def test_a_bad_configuration_is_a_sentence_and_no_model(settings, server, published, name, text):
    (published / name).write_bytes(text)
    server.publish(REPO, published)
    with pytest.raises(ModelError, match=rf"{name} of {REPO} cannot be read: (it|'a') "):
        import_repository(settings, server)
    assert list(settings.imported.glob("*")) == []


def test_a_configuration_is_not_downloaded_to_its_end(settings, server, published):
    (published / "model_index.json").write_bytes(b" " * (MAX_CONFIG_BYTES + 10**6))
    with pytest.raises(ModelError, match=f"larger than {MAX_CONFIG_BYTES >> 20} MB"):
        import_repository(settings, server)


@pytest.mark.parametrize(
    "path",
    ["../vae/x.json", "vae/../../x.json", "/vae/x.json", "vae\\x.json", "vae/..\\x.json", "vae//x.json", "vae/\n.json"],
)
def test_a_path_that_leads_elsewhere_is_no_file_of_the_model(server, path):
    server.faults.entries = [entry(path), entry("vae/extra.json")]
    paths = [file.path for file in plan_download(Hub(server.url), REPO).files]
    assert path not in paths and "vae/extra.json" in paths


def test_a_component_that_leads_elsewhere_is_no_component(server, published):
    index = json.loads((published / "model_index.json").read_text())
    (published / "model_index.json").write_text(json.dumps({**index, "..": ["a", "b"], "../..": ["a", "b"]}))
    server.faults.entries = [entry("../model.safetensors")]
    server.publish(REPO, published)
    assert all(".." not in file.path for file in plan_download(Hub(server.url), REPO).files)


@pytest.mark.parametrize(
    "facts",
    [
        entry("vae/x.json", oid="../../x"),
        entry("vae/x.json", oid="0" * 41),
        entry("vae/x.json", size=-1),
        entry("vae/x.safetensors", lfs={"oid": "../" * 20, "size": 10, "pointerSize": 134}),
    ],
)
def test_a_hash_that_is_none_is_a_sentence(server, facts):
    server.faults.entries = [facts]
    with pytest.raises(ModelError, match=r"describes vae/x\.\w+ of tiny/wan in a way that makes no sense"):
        plan_download(Hub(server.url), REPO)


def test_a_commit_that_is_none_is_a_sentence(server):
    server.commits[REPO] = "not-a-commit"
    with pytest.raises(ModelError, match="names no commit for tiny/wan; check HF_ENDPOINT"):
        plan_download(Hub(server.url), REPO)
