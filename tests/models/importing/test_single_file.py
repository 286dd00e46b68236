"""A transformer in one file, named as its authors named it, is an ordinary model after the import."""

from __future__ import annotations

import json
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.support import tiny
from tests.support.adapters import AUTHORS
from tests.support.observers import Recorder, Watcher
from tests.support.requests import make_request
from wan_pipeline.cli import main
from wan_pipeline.engine.engine import Engine
from wan_pipeline.errors import Cancelled, ModelError
from wan_pipeline.models.entries import Status
from wan_pipeline.models.importing import single_file
from wan_pipeline.models.library import ModelLibrary
from wan_pipeline.models.manager import ModelManager
from wan_pipeline.models.transfer import RESERVE_BYTES
from wan_pipeline.models.weights import read_header

PARTS = (  # diffusers' -> the authors', longest first
    ("condition_embedder.image_embedder.ff.net.0.proj", "img_emb.proj.1"),
    ("condition_embedder.image_embedder.ff.net.2", "img_emb.proj.3"),
    ("condition_embedder.image_embedder.norm1", "img_emb.proj.0"),
    ("condition_embedder.image_embedder.norm2", "img_emb.proj.4"),
    ("condition_embedder.image_embedder.pos_embed", "img_emb.emb_pos"),
    ("condition_embedder.time_embedder.linear_1", "time_embedding.0"),
    ("condition_embedder.time_embedder.linear_2", "time_embedding.2"),
    ("condition_embedder.text_embedder.linear_1", "text_embedding.0"),
    ("condition_embedder.text_embedder.linear_2", "text_embedding.2"),
    ("condition_embedder.time_proj", "time_projection.1"),
    ("attn2.add_k_proj", "cross_attn.k_img"),
    ("attn2.add_v_proj", "cross_attn.v_img"),
    ("attn2.norm_added_k", "cross_attn.norm_k_img"),
    ("attn1.", "self_attn."),
    ("attn2.", "cross_attn."),
    (".to_out.0.", ".o."),
    (".to_q.", ".q."),
    (".to_k.", ".k."),
    (".to_v.", ".v."),
    (".ffn.net.0.proj.", ".ffn.0."),
    (".ffn.net.2.", ".ffn.2."),
    (".norm2.", ".norm3."),
)


def authors_name(name: str) -> str:
    if name.startswith("vace_blocks."):
        name = name.replace(".proj_in.", ".before_proj.").replace(".proj_out.", ".after_proj.")
    elif name.startswith("proj_out."):
        name = name.replace("proj_out", "head.head")
    if name == "scale_shift_table":
        return "head.modulation"
    name = name.replace("scale_shift_table", "modulation")
    for ours, theirs in PARTS:
        name = name.replace(ours, theirs)
    return name


def test_the_names_here_are_the_authors():
    assert {authors_name(f"{ours}.weight").removesuffix(".weight") for ours in AUTHORS} == set(AUTHORS.values())


def write_file(folder: Path, path: Path, prefix: str = "", component: str = "transformer", **changes) -> Path:
    """A model's transformer as its authors would have saved it."""
    (weights,) = (folder / component).glob("*.safetensors")
    tensors = {prefix + authors_name(name): value for name, value in load_file(weights).items()}
    save_file({name: value for name, value in (tensors | changes).items() if value is not None}, path)
    return path


@pytest.fixture
def library(settings):
    return ModelLibrary(settings)


@pytest.fixture
def models(settings, library):
    return ModelManager(settings, library)


@pytest.fixture
def base(settings):
    return tiny.write_wan21_text(settings.models / "wan2.1-t2v-14b")


@pytest.fixture
def file(base, tmp_path):
    return write_file(base, tmp_path / "Fine Tune.safetensors")


@pytest.mark.parametrize(
    ("write", "name"),
    [
        (tiny.write_demo, "wan2.2-ti2v-5b"),
        (tiny.write_wan21_text, "wan2.1-t2v-14b"),
        (tiny.write_wan21_image, "wan2.1-i2v-14b-480p"),
        (tiny.write_first_last, "wan2.1-flf2v-14b"),
        (tiny.write_vace, "wan2.1-vace-14b"),
    ],
)
@pytest.mark.parametrize("prefix", ["", "model.diffusion_model.", "diffusion_model."])
def test_every_family_comes_back_bit_for_bit(settings, models, tmp_path, write, name, prefix):
    folder = write(settings.models / name)
    entry = models.import_files([write_file(folder, tmp_path / "Mine.safetensors", prefix)], name, Watcher())
    assert (entry.status, entry.spec.id, entry.spec.modes) == (Status.INSTALLED, "mine", models.entry(name).spec.modes)
    (wanted,), (got,) = ((part / "transformer").glob("*.safetensors") for part in (folder, entry.folder))
    tensors, same = load_file(wanted), load_file(got)
    assert tensors.keys() == same.keys() and all(torch.equal(same[key], tensors[key]) for key in tensors)


def test_the_clip_is_that_of_the_model_in_diffusers_layout(settings, library, models, base, file):
    seen = Watcher()
    entry = models.import_files([file], "wan2.1-t2v-14b", seen, title="My own")
    request = make_request(model="wan2.1-t2v-14b", width=64, height=64, num_frames=5, num_inference_steps=2)
    with Engine(settings) as engine:
        wanted = engine.render(request, Recorder()).sha256
        shutil.rmtree(base)  # the parts that it shares stay
        assert engine.render(replace(request, model=entry.spec.id), Recorder()).sha256 == wanted
    assert (entry.spec.id, entry.spec.title) == ("fine-tune", "My own")
    assert seen.seen[-1].done_bytes == seen.seen[-1].total_bytes > 0
    assert models.remove("fine-tune") > 0
    assert "fine-tune" not in library.specs() and not entry.folder.exists()


def test_diffusers_names_and_many_shards(settings, models, base, tmp_path, monkeypatch):
    (weights,) = (base / "transformer").glob("*.safetensors")
    monkeypatch.setattr(single_file, "SHARD_BYTES", 60_000)
    entry = models.import_files([shutil.copy(weights, tmp_path / "a.safetensors")], str(base), Watcher(), "mine")
    parts = sorted((entry.folder / "transformer").glob("*-of-*.safetensors"))
    assert len(parts) > 2 and all(path.stat().st_size < 70_000 for path in parts)
    got = {name: value for path in parts for name, value in load_file(path).items()}
    assert all(torch.equal(value, got[name]) for name, value in load_file(weights).items())
    with Engine(settings) as engine:
        engine.render(make_request(model="mine", width=64, height=64, num_frames=5, num_inference_steps=1), Recorder())


@pytest.mark.parametrize("shard_bytes", [10**9, 60_000])
def test_tensors_of_whole_lines_start_at_one(models, base, file, monkeypatch, shard_bytes):
    """Of 64 bytes: a mapped tensor that does not is computed with other bits on some processors."""
    monkeypatch.setattr(single_file, "SHARD_BYTES", shard_bytes)
    folder = models.import_files([file], "wan2.1-t2v-14b", Watcher()).folder
    spans = [
        span for path in (folder / "transformer").glob("*.safetensors") for span in read_header(path).spans.values()
    ]
    starts = [start for start, end in spans if (end - start) % 64 == 0]
    assert len(starts) > 20 and all(start % 64 == 0 for start in starts)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names are text")
def test_a_name_that_is_no_text_is_a_sentence(models, base, file):
    odd = file.rename(file.with_name(os.fsdecode(b"\xff.safetensors")))
    with pytest.raises(ModelError, match="is not valid text; rename it, or give a --title"):
        models.import_files([odd], "wan2.1-t2v-14b", Watcher(), "mine")
    assert models.import_files([odd], "wan2.1-t2v-14b", Watcher(), "mine", "Mine").status is Status.INSTALLED
    folder = base.rename(base.with_name(os.fsdecode(b"\xff")))
    with pytest.raises(ModelError, match="is not valid text"):
        models.import_folder(folder)


@pytest.mark.parametrize("name", ["x.face_adapterX.linear1_kv.weight", "motion_encoderX.weight"])
def test_names_that_diffusers_would_take_apart_are_refused(models, base, tmp_path, name):
    path = write_file(base, tmp_path / "bad.safetensors", **{name: torch.zeros(1)})
    with pytest.raises(ModelError, match="is a Wan Animate transformer"):
        models.import_files([path], "wan2.1-t2v-14b", Watcher())


def test_a_base_without_its_configuration_is_a_sentence(models, base, file):
    (base / "transformer" / "config.json").unlink()
    with pytest.raises(ModelError, match=r"transformer.config\.json cannot be read"):
        models.import_files([file], "wan2.1-t2v-14b", Watcher())


def test_two_experts_are_two_files(settings, models, tmp_path):
    folder = tiny.write_experts_text(settings.models / "wan2.2-t2v-a14b")
    high = write_file(folder, tmp_path / "high.safetensors")
    low = write_file(folder, tmp_path / "low.safetensors", component="transformer_2")
    with pytest.raises(ModelError, match="has two experts: give the other's file with --low-noise"):
        models.import_files([high], "wan2.2-t2v-a14b", Watcher())
    entry = models.import_files([high, low], "wan2.2-t2v-a14b", Watcher())
    for name in ("transformer", "transformer_2"):
        (wanted,), (got,) = ((part / name).glob("*.safetensors") for part in (folder, entry.folder))
        assert all(torch.equal(value, load_file(got)[key]) for key, value in load_file(wanted).items())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"patch_embedding.bias": None},
            "lacks 1 tensors of .*, such as patch_embedding.bias; name the model .* --config",
        ),
        ({"first_stage_model.x": torch.zeros(1)}, "has 1 tensors that .* does not have, such as first_stage_model.x"),
        (
            {"head.head.weight": torch.zeros(192, 48)},
            r"another size: proj_out.weight is \(192, 48\) in it and \(64, 48\)",
        ),
        (
            {"blocks.0.self_attn.q.scale_weight": torch.ones(7)},
            r"another program .*scale_weight is no scale of a layer",
        ),
        (
            {"blocks.9.self_attn.q.scale_weight": torch.ones(1)},
            r"another program .*scale_weight is no scale of a layer",
        ),
        ({"head.head.weight": torch.zeros(64, 48, dtype=torch.int8)}, r"another program \(I8\); choose the BF16"),
        ({"motion_encoder.enc.fc.0.weight": torch.zeros(1)}, "is a Wan Animate transformer, which cannot be used yet"),
    ],
)
def test_what_does_not_fit_is_a_sentence_and_leaves_nothing(settings, library, models, base, tmp_path, changes, words):
    path = write_file(base, tmp_path / "bad.safetensors", **changes)
    with pytest.raises(ModelError, match=words):
        models.import_files([path], "wan2.1-t2v-14b", Watcher())
    assert [folder.name for folder in settings.models.iterdir()] == ["wan2.1-t2v-14b"]
    assert "bad" not in library.specs()


def test_a_models_folder_that_is_not_there_yet_is_made(settings, models, base, file, tmp_path):
    base = base.rename(tmp_path / "elsewhere")
    settings.models.rmdir()
    assert models.import_files([file], str(base), Watcher()).folder == settings.models / "fine-tune"


def test_other_files_and_models_that_are_not_here_are_sentences(settings, models, base, file, tmp_path):
    save_file({"unet.x": torch.zeros(1)}, tmp_path / "other.safetensors")
    (tmp_path / "cut.safetensors").write_bytes(file.read_bytes()[:-1])
    for path, config, words in (
        (tmp_path / "other.safetensors", "wan2.1-t2v-14b", "is not a Wan transformer: none of its 1 tensors match"),
        (tmp_path / "cut.safetensors", "wan2.1-t2v-14b", "cannot be read: it has .* bytes where its header describes"),
        (tmp_path / "gone.safetensors", "wan2.1-t2v-14b", "cannot be read"),
        (file, "wan2.1-t2v-1.3b", "is not installed; run: python -m wan_pipeline models download wan2.1-t2v-1.3b"),
        (file, "nothing", "There is no model 'nothing'"),
    ):
        with pytest.raises(ModelError, match=words):
            models.import_files([path], config, Watcher())


def test_where_links_fail_what_is_copied_is_checked_and_told(settings, models, base, file, monkeypatch, caplog):
    """As on exFAT and many network shares, which are one disk all the same."""
    caplog.set_level("INFO")
    weights = sum(path.stat().st_size for path in base.rglob("*.safetensors") if path.parent.name != "transformer")
    small = sum(path.stat().st_size for path in base.rglob("*") if path.is_file() and path.suffix != ".safetensors")
    with monkeypatch.context() as patch:
        patch.setattr(os, "link", _no_links)
        for more, is_enough in ((weights // 2, False), (weights + 10_000, True)):
            free = RESERVE_BYTES + file.stat().st_size + small + more
            usage = shutil.disk_usage(settings.models)._replace(free=free)
            patch.setattr(shutil, "disk_usage", lambda path, usage=usage: usage)
            if is_enough:
                assert models.import_files([file], "wan2.1-t2v-14b", Watcher()).status is Status.INSTALLED
                continue
            with pytest.raises(ModelError, match=r"fine-tune needs .* free some space"):
                models.import_files([file], "wan2.1-t2v-14b", Watcher())
            assert not [path for path in settings.models.glob("*fine-tune*") if path.is_dir()]
    assert "is copied, because it cannot be linked: [Errno 1] no links here" in caplog.text


def _no_links(*paths: Path) -> None:
    raise PermissionError(1, "no links here")


def test_a_full_disk_and_a_stop_leave_nothing(settings, models, base, file, monkeypatch):
    with pytest.raises(Cancelled):
        models.import_files([file], "wan2.1-t2v-14b", Watcher(stop_at=0.5))
    free = shutil.disk_usage(settings.models)._replace(free=1000)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda path: free)
        with pytest.raises(ModelError, match=r"fine-tune needs [\d.]+ .B more and the disk of .* free some space"):
            models.import_files([file], "wan2.1-t2v-14b", Watcher())
    assert "fine-tune" not in [path.name for path in settings.models.iterdir()]
    assert not (settings.models / ".importing-fine-tune").exists()
    stale = settings.models / ".importing-fine-tune"
    stale.mkdir()
    (stale / "half").touch()
    assert models.import_files([file], "wan2.1-t2v-14b", Watcher()).status is Status.INSTALLED
    assert not list(settings.models.glob(".*"))
    with pytest.raises(ModelError, match="There is already a model 'fine-tune'; give this one another name with --id"):
        models.import_files([file], "wan2.1-t2v-14b", Watcher())


def test_from_the_command_line(settings, base, file, capsys):
    folders = ["--workspace", str(settings.workspace), "--models-folder", str(settings.models), "--json"]
    assert main(["models", "import", str(file), *folders]) == 2
    assert "name the model that it was made from with --config ID" in capsys.readouterr().err
    order = ["models", "import", str(file), "--config", "wan2.1-t2v-14b", "--id", "mine"]
    assert main([*order, *folders]) == 0
    line = json.loads(capsys.readouterr().out)
    assert (line["id"], line["status"], line["modes"]) == ("mine", "installed", ["text-to-video"])
