"""LoRAs by name, never by path."""

from __future__ import annotations

import logging
import os
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.support import adapters
from wan_pipeline.errors import LoraError
from wan_pipeline.lora.facts import LoraCatalog
from wan_pipeline.lora.incoming import LoraFiles
from wan_pipeline.lora.library import LoraLibrary
from wan_pipeline.storage.hashes import FileHashes


@pytest.fixture
def library(tmp_path):
    folder = tmp_path / "loras"
    folder.mkdir()
    for name in ("Zoom.safetensors", "anime.safetensors", "notes.txt", "half.safetensors.part"):
        (folder / name).touch()
    (folder / "folder.safetensors").mkdir()
    (tmp_path / "outside.safetensors").touch()
    return LoraLibrary(folder)


def test_names_are_the_stems_sorted(library):
    assert library.names() == ["anime", "Zoom"]


def test_case_does_not_matter(library, tmp_path):
    assert library.find("zoom") == library.find("Zoom")
    assert library.find("zoom").paths == (tmp_path / "loras" / "Zoom.safetensors",)


@pytest.mark.parametrize(
    "name", ["nope", "", "../outside", "..\\outside", "/etc/passwd", "anime.safetensors", "folder"]
)
def test_anything_else_is_refused_with_what_there_is(library, name):
    with pytest.raises(LoraError, match="it holds: anime, Zoom"):
        library.find(name)


def test_a_missing_folder_is_an_empty_one(tmp_path):
    library = LoraLibrary(tmp_path / "absent")
    assert library.names() == []
    with pytest.raises(LoraError, match="none yet"):
        library.find("x")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names are text")
def test_a_name_that_is_no_text_is_left_out_and_told_once(library, caplog):
    (library.folder / os.fsdecode(b"\xff.safetensors")).touch()
    with caplog.at_level(logging.WARNING):
        assert library.names() == library.names() == ["anime", "Zoom"]
    assert len(caplog.records) == 1 and "not valid text" in caplog.text


def test_a_file_in_a_folder_is_found_with_it_and_alone(library):
    """lora-subfolder: it was not seen."""
    folder = library.folder / "characters"
    folder.mkdir()
    (folder / "anna.safetensors").touch()
    assert library.names() == ["anime", "characters/anna", "Zoom"]
    assert library.find("Characters/Anna").paths == library.find("anna").paths == (folder / "anna.safetensors",)
    assert library.find("anna").name == "characters/anna"
    (folder / "zoom.safetensors").touch()
    assert library.find("zoom").paths == (library.folder / "Zoom.safetensors",)
    (library.folder / "others").mkdir()
    (library.folder / "others" / "anna.safetensors").touch()
    with pytest.raises(LoraError, match="There is no LoRA 'anna'"):
        library.find("anna")


def test_what_is_added_has_a_new_name_and_only_numbers(library, tmp_path):
    catalog, more = LoraCatalog(FileHashes(tmp_path / "hashes")), tmp_path / "more"
    (more / "below").mkdir(parents=True)
    library = LoraLibrary(library.folder, [more])
    for path in (
        more / "ink",
        more / "below" / "wash",
        library.folder / "a_high_noise",
        library.folder / "a_low_noise",
    ):
        adapters.write(path.with_suffix(".safetensors"))
    files = LoraFiles(library, catalog)
    (tmp_path / "new").mkdir()
    for name in ("Ink", "wash", "a", "A_low_noise", "zoom"):
        with pytest.raises(LoraError, match=f"There is a LoRA '{name}' in the folders already"):
            files.add(adapters.write(tmp_path / "new" / f"{name}.safetensors"))
    bad = {key: value * torch.inf for key, value in load_file(more / "ink.safetensors").items()}
    save_file(bad, tmp_path / "new.safetensors")
    with pytest.raises(LoraError, match="'new' holds values that are not numbers"):
        files.add(tmp_path / "new.safetensors")
    assert files.add(adapters.write(tmp_path / "new.safetensors")) == "new"
    assert library.find("new").paths == (library.folder / "new.safetensors",)


def test_halves_pair_within_their_folder(library):
    for folder, noise in (("one", "high"), ("one", "low"), ("two", "high")):
        (library.folder / folder).mkdir(exist_ok=True)
        (library.folder / folder / f"fast_{noise}_noise.safetensors").touch()
    assert library.names() == ["anime", "one/fast", "two/fast_high_noise", "Zoom"]
    assert library.find("one/fast").is_pair
