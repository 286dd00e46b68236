"""What is mistaken for weights and is something else is named by what it is. Nothing is unpickled."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import pytest
import torch

from tests.support import tiny
from tests.support.commands import wan
from tests.support.observers import Watcher
from wan_pipeline.errors import LoraError, ModelError
from wan_pipeline.lora.adapter import match_adapter
from wan_pipeline.models.library import ModelLibrary
from wan_pipeline.models.manager import ModelManager
from wan_pipeline.models.weights import DamagedFileError, ForeignFileError, read_header

GGUF = b"GGUF\x03\x00\x00\x00" + bytes(64)
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 28577\n"
FILES = {
    "gguf": (GGUF, "is a GGUF file"),
    "lfs": (POINTER, "is a Git LFS pointer.* `git lfs pull`"),
    "html": (b"\n<!DOCTYPE html>\n<html><title>Sign in</title></html>", "is a web page.* download the file itself"),
    "text": (b"Access to this model is restricted. Please log in.", "is a text, such as a server's error message"),
    "7z": (b"7z\xbc\xaf\x27\x1c" + bytes(64), "is an archive; unpack it first"),
}


class Trap:
    """Unpickled, it leaves a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.path,)


@pytest.fixture
def base(settings) -> Path:
    return tiny.write_wan21_text(settings.models / "wan2.1-t2v-14b")


@pytest.fixture
def models(settings) -> ModelManager:
    return ModelManager(settings, ModelLibrary(settings))


@pytest.mark.parametrize(("content", "words"), FILES.values(), ids=FILES)
def test_20_a_file_is_told_by_what_it_is_wherever_it_is_taken_for_weights(
    settings, models, base, tmp_path, content, words
):
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=words) as caught:
        models.import_files([path], "wan2.1-t2v-14b", Watcher())
    assert "download it again" not in str(caught.value) and "cut short" not in str(caught.value)
    (weights,) = (base / "transformer").glob("*.safetensors")
    shutil.copy(path, weights)
    with pytest.raises(ModelError, match=words):
        ModelLibrary(settings).find("wan2.1-t2v-14b")
    with pytest.raises(LoraError, match=words):
        match_adapter(path, ModelLibrary(settings).find("demo"))


@pytest.mark.parametrize("zipped", [True, False])
def test_20_a_pickle_is_told_and_never_opened(models, base, tmp_path, zipped):
    path, mark = tmp_path / "model.pth", tmp_path / "unpickled"
    if zipped:
        torch.save({"weight": torch.zeros(2), "trap": Trap(mark)}, path)
    else:
        path.write_bytes(pickle.dumps(Trap(mark)))
    with pytest.raises(ModelError, match=r"is a PyTorch file \(\.pth\).* choose the \.safetensors file"):
        models.import_files([path], "wan2.1-t2v-14b", Watcher())
    assert not mark.exists()


def test_20_a_large_gguf_is_no_header_of_gigabytes(tmp_path):
    path = tmp_path / "a.safetensors"
    with path.open("wb") as file:
        file.write(GGUF)
        file.truncate(20 * 10**9)
    with pytest.raises(ForeignFileError, match="GGUF"):
        read_header(path)


@pytest.mark.parametrize("content", [b"", b"\x00", bytes(100), b"\xff" * 100])
def test_20_what_nobody_knows_is_damaged(tmp_path, content):
    (tmp_path / "a.safetensors").write_bytes(content)
    with pytest.raises(DamagedFileError) as caught:
        read_header(tmp_path / "a.safetensors")
    assert not isinstance(caught.value, ForeignFileError)


@pytest.mark.parametrize("layout", ["whole", "experts", "transformer"])
def test_20_a_folder_of_the_authors_is_told(models, tmp_path, layout):
    folder = tmp_path / "Wan2.1-T2V-14B"
    folder.mkdir()
    match layout:
        case "whole":
            (folder / "Wan2.1_VAE.pth").touch()
        case "experts":
            (folder / "high_noise_model").mkdir()
        case _:
            (folder / "config.json").write_text(json.dumps({"_class_name": "WanModel", "dim": 5120}))
    (folder / "diffusion_pytorch_model-00001-of-00006.safetensors").touch()
    with pytest.raises(
        ModelError, match=r"layout of the Wan authors' own repositories.* diffusers layout.* with --config"
    ):
        models.import_folder(folder)


def test_20_without_a_configuration_a_file_is_told_too(tmp_path):
    (tmp_path / "a.gguf").write_bytes(GGUF)
    folders = [f"--workspace={tmp_path / 'workspace'}", f"--models-folder={tmp_path / 'models'}"]
    told = wan("models", "import", tmp_path / "a.gguf", *folders)
    assert (told.returncode, told.stderr.count("\n")) == (2, 1) and "is a GGUF file" in told.stderr
    told = wan("models", "import", tmp_path, "--config", "demo", *folders)
    assert told.returncode == 2 and "holds no .safetensors files" in told.stderr
