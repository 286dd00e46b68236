"""Repositories that cannot be downloaded: each a sentence, before a byte is fetched."""

from __future__ import annotations

import huggingface_hub
import huggingface_hub.constants
import pytest

from tests.support.servers.hub import REPO, WEIGHTS
from wan_pipeline.errors import ModelError
from wan_pipeline.models.hub.client import Hub
from wan_pipeline.models.hub.download import plan_download


def test_a_misspelt_repository(server):
    with pytest.raises(ModelError, match=r"no repository 'tiny/wna' at .* check the spelling"):
        plan_download(Hub(server.url), "tiny/wna")


@pytest.mark.parametrize("name", ["wan", "a/b/c", "../x", "tiny/..", "a b/c", ""])
def test_what_is_no_name(server, name):
    with pytest.raises(ModelError, match="write it as owner/name"):
        plan_download(Hub(server.url), name)


def test_a_gated_repository(server):
    server.faults.gated = True
    with pytest.raises(ModelError, match=r"tiny/wan is gated: accept its terms at .* `hf auth login`"):
        plan_download(Hub(server.url), REPO)


def test_an_unknown_revision(server):
    with pytest.raises(ModelError, match="no such revision"):
        plan_download(Hub(server.url), REPO, "v9")


def test_no_network():
    with pytest.raises(ModelError, match="cannot be reached for tiny/wan"):
        plan_download(Hub("http://127.0.0.1:9"), REPO)


def test_offline(server, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match="while HF_HUB_OFFLINE is set"):
        plan_download(Hub(server.url), REPO)


def test_a_repository_in_another_layout(server, published):
    (published / "model_index.json").unlink()
    server.publish(REPO, published)
    with pytest.raises(ModelError, match="not a model in diffusers layout"):
        plan_download(Hub(server.url), REPO)


def test_a_repository_without_safetensors(server, published):
    (published / WEIGHTS).rename((published / WEIGHTS).with_suffix(".bin"))
    server.publish(REPO, published)
    with pytest.raises(ModelError, match=r"no \.safetensors weights in transformer"):
        plan_download(Hub(server.url), REPO)
