"""Files on their way to a node: by hash, once, and whole."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from pathlib import Path

import pytest

from tests.support.observers import Recorder
from tests.support.requests import make_request
from wan_pipeline.cluster import files as module
from wan_pipeline.cluster.files import IN_USE_SECONDS, NodeFiles, StudioFiles, send
from wan_pipeline.cluster.wire import Sealed, SentFile
from wan_pipeline.errors import NodeLost, StorageError, UserError
from wan_pipeline.lora.library import LoraLibrary
from wan_pipeline.requests.request import LoraChoice
from wan_pipeline.settings import Settings

CONTENT = b"0123456789"


def node_files(tmp_path: Path) -> NodeFiles:
    (tmp_path / "run").mkdir(exist_ok=True)
    return NodeFiles(tmp_path / "sent", tmp_path / "inputs", tmp_path / "run" / "loras", tmp_path / "run" / "a.part")


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def sent(name: str = "a/b.safetensors", content: bytes = CONTENT) -> SentFile:
    return SentFile(name, hashlib.sha256(content).hexdigest(), is_lora=True)


def test_loras_and_pictures_are_laid_out_under_their_names_and_sent_once(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHUNK_BYTES", 4)
    lora = settings.loras / "people" / "anna.safetensors"
    lora.parent.mkdir()
    lora.write_bytes(CONTENT)
    picture = settings.inputs / f"{'0' * 64}.png"
    picture.write_bytes(b"a picture")
    request = make_request(loras=(LoraChoice("people/anna"),), image="0" * 64)
    files, node = StudioFiles(settings).of(request), node_files(tmp_path)
    assert len(node.missing(tuple(files))) == 2
    send(files, node, Recorder())  # type: ignore[arg-type]  # as much of a node as sending needs
    node.lay_out(tuple(files))
    assert (tmp_path / "run" / "loras" / "people" / "anna.safetensors").read_bytes() == CONTENT
    assert (tmp_path / "inputs" / picture.name).read_bytes() == b"a picture"
    assert node.missing(tuple(files)) == ()
    lora.write_bytes(CONTENT[::-1])
    assert node.missing(tuple(StudioFiles(settings).of(request))) == (sent(content=CONTENT[::-1]).sha256,)


def test_a_half_of_a_pair_brings_the_other_by_which_its_expert_is_known(settings: Settings, tmp_path: Path) -> None:
    for half in ("high", "low"):
        (settings.loras / f"anna_{half}.safetensors").write_bytes(half.encode())
    node, files = node_files(tmp_path), StudioFiles(settings).of(make_request(loras=(LoraChoice("anna_high"),)))
    send(files, node, Recorder())  # type: ignore[arg-type]  # as much of a node as sending needs
    node.lay_out(tuple(files))
    there, here = (LoraLibrary(folder).find("anna_high") for folder in (tmp_path / "run" / "loras", settings.loras))
    assert (there.high is None, there.low is None) == (here.high is None, here.low is None) == (False, True)


def test_a_clip_finds_the_loras_of_no_other(tmp_path: Path) -> None:
    node, old, new = node_files(tmp_path), sent("old.safetensors"), sent("new.safetensors")
    node.receive(old.sha256, 0, CONTENT, is_last=True)
    node.lay_out((old,))
    node.lay_out((new,))
    assert [path.name for path in (tmp_path / "run" / "loras").iterdir()] == ["new.safetensors"]


def test_a_lora_of_an_earlier_clip_that_cannot_be_removed_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(folder: Path, *, ignore_errors: bool = False) -> None:
        if not ignore_errors:
            raise PermissionError("in use")

    node, old, new = node_files(tmp_path), sent("a.safetensors"), sent("a.safetensors", b"new")
    node.receive(old.sha256, 0, CONTENT, is_last=True)
    node.receive(new.sha256, 0, b"new", is_last=True)
    node.lay_out((old,))
    monkeypatch.setattr(shutil, "rmtree", refuse)
    with pytest.raises(StorageError, match="in use"):
        node.lay_out((new,))


def test_what_was_used_longest_ago_is_removed_once_there_is_too_much(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node, kept, inputs = node_files(tmp_path), tmp_path / "sent", tmp_path / "inputs"
    pictures = [SentFile(f"{name}.png", _hash(CONTENT + name.encode()), is_lora=False) for name in "abc"]
    for age, picture in enumerate(pictures, 2):
        node.receive(picture.sha256, 0, CONTENT + picture.name[:1].encode(), is_last=True)
        node.lay_out((picture,))
        for path in (kept / picture.sha256, inputs / picture.name):
            os.utime(path, (time.time() - age * IN_USE_SECONDS,) * 2)
    (kept / "f.part").write_bytes(b"half")
    os.utime(kept / "f.part", (0, 0))
    assert node.missing((pictures[1],)) == ()
    monkeypatch.setattr(module, "MAX_KEPT_BYTES", 2 * len(CONTENT))
    node_files(tmp_path)
    assert {path.name for path in kept.iterdir()} == {pictures[1].sha256}
    assert {path.name for path in inputs.iterdir()} == {pictures[1].name}
    node.lay_out((pictures[1],))


def test_a_part_that_is_sent_again_is_not_doubled_and_a_changed_file_is_refused(tmp_path: Path) -> None:
    node, file = node_files(tmp_path), sent()
    parts = (0, CONTENT[:6], False), (6, CONTENT[6:], True)
    for offset, part, is_last in (parts[0], parts[0], parts[1], parts[1]):
        node.receive(file.sha256, offset, part, is_last=is_last)
    assert node.missing((file,)) == ()
    with pytest.raises(NodeLost):
        node.receive(sent(content=b"other").sha256, 0, CONTENT, is_last=True)


@pytest.mark.parametrize("name", ["../a.safetensors", "/a.safetensors", "a\\b.safetensors", "c:a.safetensors", "a.py"])
def test_no_name_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    node, file = node_files(tmp_path), sent(name)
    node.receive(file.sha256, 0, CONTENT, is_last=True)
    with pytest.raises(UserError, match=r"cannot be sent|no LoRA"):
        node.lay_out((file,))


def test_sealed_bytes_are_checked() -> None:
    assert Sealed.of(CONTENT).opened("It") == CONTENT
    with pytest.raises(NodeLost, match="It did not arrive"):
        Sealed(CONTENT[1:], Sealed.of(CONTENT).sha256).opened("It")
