"""Text encoding: the pipeline's own embeddings, and their cache."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import WanPipeline
from safetensors.torch import load_file, save_file

from wan_pipeline.engine import text
from wan_pipeline.engine.device.placement import Placement
from wan_pipeline.engine.loading.load import quiet_libraries
from wan_pipeline.errors import GenerationError
from wan_pipeline.models.library import ModelLibrary

PLACE = Placement(torch.device("cpu"), torch.float32)
TEXTS = ["the red ball moves left", ""]


@pytest.fixture(autouse=True)
def quiet():
    quiet_libraries()


@pytest.fixture
def model(settings):
    return ModelLibrary(settings).find("demo")


@pytest.fixture
def copied(settings, tmp_path):
    """The model in a folder that a test may change."""
    folder = shutil.copytree(settings.demo_checkpoint, tmp_path / "copied")
    return ModelLibrary(replace(settings, demo_checkpoint=folder)).find("demo")


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "prompts"


@torch.inference_mode()
def embed(model, texts, cache):
    return text.embed(model, texts, text.EmbeddingCache(cache), PLACE)


@torch.inference_mode()
def test_thousands_of_captions_are_not_held_with_their_padding(model, cache):
    held = []

    def shorten(embedding):
        held.append(embedding.shape[1])
        return embedding[:, :6].clone()

    for _ in range(2):  # encoded, then from the cache
        found = text.embed(model, TEXTS, text.EmbeddingCache(cache), PLACE, shorten=shorten)
        assert [embedding.shape for embedding in found] == [(1, 6, 32)] * 2
    assert held == [64] * 4


def test_equals_the_pipelines_own_encoding(model, cache):
    pipeline = WanPipeline.from_pretrained(model.folder, torch_dtype=torch.float32)
    with torch.inference_mode():
        expected = pipeline.encode_prompt(*TEXTS, max_sequence_length=model.spec.max_sequence_length)
    for ours, theirs in zip(embed(model, TEXTS, cache), expected, strict=True):
        assert ours.shape == (1, 64, 32)
        assert torch.equal(ours, theirs)
    assert not bool(embed(model, [TEXTS[0]], cache)[0][0, 6:].any()), "what pads the text is zero"


def test_the_second_time_no_encoder_is_needed(copied, cache):
    first = embed(copied, TEXTS, cache)
    shutil.rmtree(copied.folder)
    for before, after in zip(first, embed(copied, TEXTS, cache), strict=True):
        assert torch.equal(before, after)


def test_other_texts_and_other_models_do_not_share(model, copied, cache):
    embed(model, TEXTS, cache)
    embed(model, ["the blue ball"], cache)
    (copied.folder / "notes.txt").write_text("another release", encoding="utf-8")
    embed(copied, TEXTS, cache)
    assert len(list(cache.iterdir())) == 5


def test_a_damaged_cache_file_is_made_again(model, cache):
    (first,) = embed(model, ["the red ball"], cache)
    (path,) = cache.iterdir()
    path.write_bytes(path.read_bytes()[:100])
    (again,) = embed(model, ["the red ball"], cache)
    assert torch.equal(first, again) and torch.equal(load_file(path)["embedding"], first)


def test_the_cache_forgets_what_was_not_used_for_longest(copied, cache):
    def embed(model, texts, folder):
        return text.embed(model, texts, text.EmbeddingCache(folder, keep=2), PLACE)

    for number, words in enumerate(["red", "blue"]):
        embed(copied, [words], cache)
        for path in cache.iterdir():
            os.utime(path, (number, min(number, path.stat().st_mtime)))
    assert len(list(cache.iterdir())) == 2
    embed(copied, ["red"], cache)
    embed(copied, ["ball"], cache)
    shutil.rmtree(copied.folder)
    embed(copied, ["red", "ball"], cache)
    assert len(list(cache.iterdir())) == 2


def test_the_folder_is_listed_at_the_first_and_at_every_64th_embedding(cache, monkeypatch):
    listed = []
    glob = Path.glob
    monkeypatch.setattr(Path, "glob", lambda *arguments: listed.append("") or glob(*arguments))
    embeddings = text.EmbeddingCache(cache, keep=10)
    counts = []
    for number in range(text.PRUNE_EVERY + 1):
        embeddings.write(str(number), torch.zeros(1))
        os.utime(cache / f"{number}.safetensors", (number, number))
        counts.append(len(listed))
    assert counts == [1] * text.PRUNE_EVERY + [2]
    assert {path.stem for path in cache.iterdir()} == {str(number) for number in range(55, 65)}


def test_a_text_longer_than_the_model_reads_is_cut(model, cache):
    (long,) = embed(model, ["ball " * 500], cache)
    assert long.shape == (1, 64, 32) and bool(long[0, -1].any())


def test_damaged_weights_are_an_error_and_are_not_cached(settings, tmp_path):
    folder = shutil.copytree(settings.demo_checkpoint, tmp_path / "copy")
    path = next((folder / "text_encoder").glob("*.safetensors"))
    tensors = load_file(path)
    tensors["encoder.final_layer_norm.weight"][0] = float("nan")
    save_file(tensors, path, metadata={"format": "pt"})
    model = ModelLibrary(replace(settings, demo_checkpoint=folder)).find("demo")
    with pytest.raises(GenerationError, match="text encoder"):
        embed(model, ["ball"], tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_another_setup_is_another_entry(model, cache):
    """After an update of torch, say, the encoder may give other bits."""
    for setup in ("one", "two", "one"):
        text.embed(model, ["the red ball"], text.EmbeddingCache(cache), PLACE, setup)
    assert len(list(cache.iterdir())) == 2
