"""Copies of clips in a folder of the person's choice."""

from __future__ import annotations

import os
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from tests.ui.gallery.clips import CLIP
from wan_pipeline.clips.copies.output import copy_clip
from wan_pipeline.clips.copies.zipped import zip_clips


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clips" / "001.mp4"
    path.parent.mkdir()
    path.write_bytes(b"new")
    return path


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_copy_replaces_no_file(clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert copy_clip(clip, "a/001.mp4", str(out)) == ()
    (out / "a" / "001.mp4").write_bytes(b"somebody's cut")
    (told,) = copy_clip(clip, "a/001.mp4", str(out))
    assert told == f"The clip's copy in {out / 'a'} is 001_2.mp4: another file was 001.mp4 already."
    assert contents(out) == {"a/001.mp4": b"somebody's cut", "a/001_2.mp4": b"new"}
    clip.write_bytes(b"newer")
    assert "001_3.mp4" in str(copy_clip(clip, "a/001.mp4", str(out)))
    assert contents(out) == {"a/001.mp4": b"somebody's cut", "a/001_2.mp4": b"new", "a/001_3.mp4": b"newer"}


def test_a_copy_that_is_there_is_not_made_again(clip: Path, tmp_path: Path) -> None:
    """Nor is the clip copied onto itself."""
    for folder in (tmp_path / "out", tmp_path / "out", clip.parent):
        assert copy_clip(clip, "001.mp4", str(folder)) == ()
    assert contents(tmp_path) == {"out/001.mp4": b"new", "clips/001.mp4": b"new"}


@pytest.mark.skipif(os.name == "nt", reason="links need a right there")
def test_a_link_is_not_replaced(clip: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "001.mp4").symlink_to(tmp_path / "away.mp4")
    assert "001_2.mp4" in str(copy_clip(clip, "001.mp4", str(tmp_path / "out")))
    assert (tmp_path / "out" / "001.mp4").is_symlink() and not (tmp_path / "away.mp4").exists()


@pytest.mark.parametrize("folder", ["~/out", "~nobody-of-this-name/out", "out"])
def test_the_folder_is_taken_as_it_is_written(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (told,) = copy_clip(clip, "001.mp4", folder)
    assert f"'{folder}' is not a whole path; write it in full" in told
    assert contents(tmp_path) == {"clips/001.mp4": b"new"}
    assert copy_clip(clip, "001.mp4", "") == ()
    inner = tmp_path / "~"
    assert copy_clip(clip, "001.mp4", str(inner)) == () and (inner / "001.mp4").is_file()


def test_every_clip_of_a_zip_has_a_name_of_its_own(tmp_path: Path) -> None:
    paths = [tmp_path / "a" / "x.mp4", tmp_path / "b" / "x.mp4", tmp_path / "c" / "x (2).mp4"]
    for path in paths:
        path.parent.mkdir()
        path.write_bytes(str(path).encode())
    target = zip_clips([replace(CLIP, path=path) for path in paths], tmp_path / "new" / "clips.zip")
    with zipfile.ZipFile(target) as archive:
        assert archive.namelist() == ["x.mp4", "x (2).mp4", "x (2) (2).mp4"]
        assert [archive.read(name).decode() for name in archive.namelist()] == [str(path) for path in paths]
