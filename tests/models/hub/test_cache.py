"""The Hugging Face cache, where any program may leave anything."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import huggingface_hub.constants
import pytest

from tests.support.hostile import BAD_JSON, BAD_VALUES, short
from wan_pipeline.errors import ModelError
from wan_pipeline.models.entries import Status
from wan_pipeline.models.hub.cache import CachedRepository, RemoteFile, Repository
from wan_pipeline.models.library import ModelLibrary
from wan_pipeline.models.manager import ModelManager

MODEL, REPO, COMMIT = "wan2.1-t2v-1.3b", "Wan-AI/Wan2.1-T2V-1.3B-Diffusers", "0123456789abcdef"
FILE = RemoteFile("vae/config.json", 5, None, "0" * 40)


class Silent:
    def transferred(self, progress) -> None: ...

    def cancelled(self) -> bool:
        return False


@pytest.fixture
def cached(tmp_path, monkeypatch) -> CachedRepository:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    cached = CachedRepository(REPO)
    cached.pin(Repository(REPO, COMMIT, None, (FILE,)), [FILE], "main")
    return cached


@pytest.fixture
def manifest(cached: CachedRepository) -> Path:
    return cached.root / "wan-studio" / f"{COMMIT}.json"


def test_a_manifest_is_read_again(cached):
    assert cached.manifest(COMMIT) == [FILE] and cached.has_manifest(COMMIT) and cached.pinned() == COMMIT
    assert cached.manifest("f" * 40) is None and not cached.has_manifest("f" * 40)


@pytest.mark.parametrize("text", BAD_JSON.values(), ids=BAD_JSON)
def test_a_bad_manifest_is_a_sentence(cached, manifest, text):
    manifest.write_bytes(text)
    with pytest.raises(ModelError, match=r"json cannot be read \(.*\); download the model again"):
        cached.manifest(COMMIT)


@pytest.mark.parametrize("value", BAD_VALUES, ids=short)
@pytest.mark.parametrize("key", ["size", "sha256", "git_sha1"])
def test_a_value_of_another_kind_is_a_sentence(cached, manifest, key, value):
    facts = {"size": 5, "sha256": None, "git_sha1": "0" * 40}
    manifest.write_text(json.dumps({"vae/config.json": {**facts, key: value}}))
    if (key, value) in (("size", 0), ("sha256", None)):
        assert cached.manifest(COMMIT) is not None
    else:
        with pytest.raises(ModelError, match="download the model again"):
            cached.manifest(COMMIT)


@pytest.mark.parametrize("path", ["../../../outside.txt", "vae/../../../../outside.txt", "/outside.txt", "vae\\x", ""])
def test_verifying_removes_nothing_outside_the_cache(settings, cached, manifest, tmp_path, path):
    (tmp_path / "hub" / "outside.txt").write_text("mine")
    shutil.copytree(settings.demo_checkpoint, cached.root / "snapshots" / COMMIT)
    manifest.write_text(json.dumps({path: {"size": 1, "sha256": None, "git_sha1": "0" * 40}}))
    with pytest.raises(ModelError, match="download the model again"):
        ModelManager(settings, ModelLibrary(settings)).verify(MODEL, Silent())
    assert (tmp_path / "hub" / "outside.txt").read_text() == "mine"


def test_a_bad_manifest_leaves_the_list_of_models(settings, cached, manifest):
    folder = Path(shutil.copytree(settings.demo_checkpoint, cached.root / "snapshots" / COMMIT))
    next((folder / "vae").glob("*.safetensors")).unlink()
    manifest.write_text("{")
    entries = ModelManager(settings, ModelLibrary(settings)).entries()
    assert {entry.spec.id: entry.status for entry in entries}[MODEL] is Status.DAMAGED


@pytest.mark.parametrize("text", [b"", b"../../..", b"/", b"\0", b"\xff", b"0123456\n0123456", b"x" * 10**6], ids=short)
def test_a_branch_that_names_no_commit_is_no_snapshot(cached, text):
    for ref in ("wan-studio", "main"):
        (cached.root / "refs" / ref).write_bytes(text)
    assert cached.snapshot() is None and cached.pinned() is None
