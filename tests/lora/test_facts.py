"""What a list shows of LoRA files: by their headers, and quickly for many."""

from __future__ import annotations

import json
import shutil
import time

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.engine.lora.test_lora_cases import CASES, MODEL
from tests.support import adapters, tiny
from wan_pipeline.cli import main
from wan_pipeline.lora import library as library_module
from wan_pipeline.lora.facts import LoraCatalog
from wan_pipeline.lora.library import LoraLibrary
from wan_pipeline.models.library import ModelLibrary
from wan_pipeline.storage.hashes import FileHashes


@pytest.fixture
def catalog(settings):
    return LoraCatalog(FileHashes(settings.cache / "hashes"))


@pytest.fixture
def model(settings):
    tiny.write_wan21_text(settings.models / MODEL)
    return ModelLibrary(settings).find(MODEL)


@pytest.mark.parametrize(
    ("stem", "kind", "rank"),
    [
        ("lightx2v_full", "LoRA + difference", 4),
        ("dora_musubi206", "DoRA", 4),
        ("lokr_8285", "LoKr", None),
        ("fun_double_underscore", "LoRA", 4),
    ],
)
def test_kind_rank_and_keys(settings, catalog, model, stem, kind, rank):
    source = next(path for path in CASES if path.stem == stem)
    shutil.copy(source, settings.loras)
    library = LoraLibrary(settings.loras)
    facts = catalog.facts(library.find(stem), model, library.values)
    count = len(load_file(source))
    assert (facts.kind, facts.rank, facts.keys, facts.applied) == (kind, rank, count, count)
    assert (facts.problem, facts.warnings, facts.experts) == (None, (), ())
    assert facts.bytes == source.stat().st_size
    assert len(catalog.sha256(facts.paths[0])) == 64


def test_settings_put_beside_a_file_are_seen(settings, catalog, model):
    path = settings.loras / "adapter_model.safetensors"
    save_file({"base_model.model.blocks.0.attn1.to_q.oft_R.weight": torch.full((6, 28), 0.1)}, path)
    lora = LoraLibrary(settings.loras).find("adapter_model")
    assert "put its adapter_config.json beside it" in (catalog.facts(lora, model).problem or "")
    (settings.loras / "adapter_config.json").write_text('{"peft_type": "OFT"}', encoding="utf-8")
    assert catalog.facts(lora, model).problem is None


def test_what_the_metadata_says(settings, catalog):
    tensors = {"diffusion_model.blocks.0.self_attn.q.lora_A.weight": torch.zeros(2, 5120)}
    tags = json.dumps({"10_ink": {"inkstyle": 20, "a boat": 3}, "5_more": {"inkstyle": 5}})
    save_file(
        tensors, settings.loras / "said.safetensors", {"ss_base_model_version": "wan2.2\n", "ss_tag_frequency": tags}
    )
    save_file(tensors, settings.loras / "wide.safetensors", {"modelspec.trigger_phrase": " ink style, wash "})
    save_file(tensors, settings.loras / "deep.safetensors", {"ss_tag_frequency": "[" * 9999})
    library = LoraLibrary(settings.loras)
    said, wide, deep = (catalog.facts(library.find(name)) for name in ("said", "wide", "deep"))
    assert (said.base, said.trigger_words) == ("wan2.2", ("inkstyle",))
    assert (wide.base, wide.trigger_words) == ("Wan 14B", ("ink style", "wash"))
    assert (deep.base, deep.trigger_words, deep.problem, deep.applied) == ("Wan 14B", (), None, None)


def test_what_cannot_be_used_is_listed_with_the_reason(settings, catalog, model):
    (settings.loras / "broken.safetensors").write_bytes(b"nothing")
    save_file({"x.lora_A.weight": torch.zeros(2, 2)}, settings.loras / "other.safetensors")
    save_file({"x.weight": torch.zeros(2, 2)}, settings.loras / "weights.safetensors")
    library = LoraLibrary(settings.loras)
    problems = {lora.name: catalog.facts(lora, model).problem or "" for lora in library.all()}
    assert "cannot be read" in problems["broken"] and "fits nothing" in problems["other"]
    assert "holds no changes of weights" in (catalog.facts(library.find("weights")).problem or "")


def test_a_file_that_changes_is_read_again(settings, catalog):
    path = adapters.write(settings.loras / "ink.safetensors")
    library = LoraLibrary(settings.loras)
    before = catalog.facts(library.find("ink"))
    tensors = load_file(path)
    tensors.popitem()
    save_file(tensors, path)
    assert catalog.facts(library.find("ink")).keys == before.keys - 1


def test_the_first_page_of_five_thousand_files_comes_at_once(settings, catalog, model):
    path = adapters.write(settings.loras / "0000.safetensors", but="proj_out")
    for number in range(1, 5000):
        (settings.loras / f"{number:04}.safetensors").hardlink_to(path)
    library = LoraLibrary(settings.loras)
    started = time.thread_time()  # other processes and torch's threads take their share of the clock
    page = [catalog.facts(lora, model) for lora in library.all()[:12]]
    assert time.thread_time() - started < 2.0  # reading them all takes more than five
    assert {facts.applied for facts in page} == {18}


def test_further_folders_are_read_and_hidden_names_are_told(settings, tmp_path):
    more = tmp_path / "comfy" / "loras"
    (more / "style").mkdir(parents=True)
    for path in (settings.loras / "ink", more / "Ink", more / "style" / "wash"):
        adapters.write(path.with_suffix(".safetensors"))
    library = LoraLibrary(settings.loras, [more, tmp_path / "absent"])
    assert library.names() == ["ink", "style/wash"]
    assert library.find("INK").paths == (settings.loras / "ink.safetensors",)
    (notice,) = library.notices
    assert f"{more / 'Ink.safetensors'} has the same name, so it is left out: rename it" in notice
    (more / "Ink.safetensors").unlink()
    assert library.notices == ()


def test_notices_list_the_folders_once(settings, tmp_path, monkeypatch):
    """A file that goes away between two listings was once looked up in the second."""
    more = tmp_path / "more"
    more.mkdir()
    for folder in (settings.loras, more):
        adapters.write(folder / "ink.safetensors")
    listed = []
    walk = LoraLibrary._walk
    monkeypatch.setattr(LoraLibrary, "_walk", lambda library: listed.append("") or walk(library))
    monkeypatch.setattr(library_module, "SETTLED_SECONDS", 1e9)  # as folders that have just changed
    assert len(LoraLibrary(settings.loras, [more]).notices) == 1 and len(listed) == 1


def test_the_command_lists_and_checks(settings, model, capsys, tmp_path):
    shutil.copy(next(path for path in CASES if path.stem == "lightx2v_full"), settings.loras)
    more = tmp_path / "more"
    more.mkdir()
    (more / "broken.safetensors").write_bytes(b"nothing")
    folders = ["--loras-folder", str(settings.loras), "--loras-folder", str(more)]
    folders += ["--models-folder", str(settings.models), "--workspace", str(settings.workspace)]
    assert main(["loras", "list", "--model", MODEL, "--json", *folders]) == 0
    broken, full = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert (broken["name"], broken["applied"]) == ("broken", None) and "cannot be read" in broken["problem"]
    wanted = {
        "name": "lightx2v_full",
        "kind": "LoRA + difference",
        "rank": 4,
        "keys": 94,
        "applied": 94,
        "problem": None,
    }
    assert wanted.items() <= full.items() and full["path"] == str(settings.loras / "lightx2v_full.safetensors")
    assert main(["loras", "check", str(more / "broken.safetensors"), "--model", MODEL, *folders]) == 1
    assert "cannot be used" in capsys.readouterr().out
    assert main(["loras", "check", "lightx2v_full", "--model", MODEL, *folders]) == 0
    assert "94 of 94 keys" in capsys.readouterr().out
