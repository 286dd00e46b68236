"""An empty cache, and a Hub that has a tiny model."""

from __future__ import annotations

import shutil
from pathlib import Path

import huggingface_hub
import huggingface_hub.constants
import pytest

from tests.support.servers.hub import REPO, WEIGHTS, hub_server


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    folder = tmp_path / "hub"
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(folder))
    return folder


@pytest.fixture
def published(tiny_demo, tmp_path) -> Path:
    """What the server holds: a tiny model, and files that nobody needs."""
    folder = shutil.copytree(tiny_demo, tmp_path / "published")
    (folder / "README.md").write_text("A model.")
    (folder / "assets").mkdir()
    (folder / "assets" / "picture.png").write_bytes(b"picture")
    shutil.copy(folder / WEIGHTS, folder / "transformer" / "diffusion_pytorch_model.fp16.safetensors")
    return folder


@pytest.fixture
def server(cache, published):
    with hub_server() as server:
        server.publish(REPO, published)
        yield server
