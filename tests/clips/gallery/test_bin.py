"""The bin: all files of a clip go into it and come back."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.files.clips import names, put
from wan_pipeline.clips.gallery import Gallery, GalleryQuery
from wan_pipeline.errors import StorageError
from wan_pipeline.storage.database import Database


def test_a_move_that_cannot_be_completed_is_told(gallery: Gallery, folder: Path) -> None:
    put(folder, "a")
    put(folder, "b")
    gallery.rescan()
    (folder / "bin" / "a.json").mkdir(parents=True)
    (folder / "a.mp4").rename(folder / "bin" / "a.mp4")
    gallery.rescan()
    assert "a.json cannot be moved to" in gallery.problems[0]
    assert names(gallery) == ["b", "a"]


def test_no_clip_is_moved_over_another_of_its_name(gallery: Gallery, folder: Path) -> None:
    put(folder, "a")
    gallery.rescan()
    gallery.bin(["job-a"])
    put(folder, "a", receipt={"job": "new"})
    (folder / "a.mp4").write_bytes(b"another")
    gallery.rescan()
    with pytest.raises(StorageError, match=r"a\.mp4 cannot be moved to .* rename or delete one of the two"):
        gallery.unbin(["job-a"])
    assert "a.mp4 cannot be moved" in gallery.problems[0]
    assert (folder / "a.mp4").read_bytes() == b"another" and (folder / "bin" / "a.mp4").read_bytes() == b"mp4"


def test_the_bin_takes_all_files_and_gives_them_back(gallery: Gallery, folder: Path) -> None:
    put(folder, "a")
    put(folder, "b")
    gallery.rescan()
    gallery.star("job-a", True)
    gallery.bin(["job-a"])
    assert names(gallery) == ["b"]
    assert names(gallery, GalleryQuery(binned=True)) == ["a"]
    assert sorted(path.name for path in (folder / "bin").iterdir()) == ["a.json", "a.latents", "a.mp4", "a.webp"]
    assert gallery.clip("job-a").path.is_file()
    gallery.unbin(["job-a"])
    assert names(gallery) == ["b", "a"]
    assert gallery.clip("job-a").starred
    assert gallery.clip("job-a").poster.is_file()


def test_the_bin_can_be_emptied_for_good(gallery: Gallery, folder: Path) -> None:
    for name in "ab":
        put(folder, name)
    gallery.rescan()
    gallery.bin(["job-a"])
    assert gallery.empty_bin() == 1
    assert list((folder / "bin").iterdir()) == []
    assert gallery.rescan() == 0
    assert names(gallery, GalleryQuery(binned=True)) == []
    assert names(gallery) == ["b"]


def test_a_bin_that_was_cut_short_is_completed(gallery: Gallery, folder: Path) -> None:
    put(folder, "a")
    gallery.rescan()
    (folder / "bin").mkdir()
    (folder / "a.mp4").rename(folder / "bin" / "a.mp4")  # and then the power failed
    gallery.rescan()
    assert names(gallery, GalleryQuery(binned=True)) == ["a"]
    assert sorted(path.name for path in (folder / "bin").iterdir()) == ["a.json", "a.latents", "a.mp4", "a.webp"]


def test_a_clip_taken_out_of_the_bin_by_hand_is_back(gallery: Gallery, folder: Path) -> None:
    put(folder, "a")
    gallery.rescan()
    gallery.bin(["job-a"])
    (folder / "bin" / "a.mp4").rename(folder / "a.mp4")
    gallery.rescan()
    assert names(gallery) == ["a"]
    assert gallery.clip("job-a").poster.is_file()


def test_a_lost_database_loses_no_clip_and_unbins_none(gallery: Gallery, folder: Path, tmp_path: Path) -> None:
    put(folder, "a", hour=1)
    put(folder, "b", hour=0)
    put(folder, "c")
    gallery.rescan()
    gallery.bin(["job-c"])
    again = Gallery(Database.create(tmp_path / "new.sqlite3"), folder)
    assert again.rescan() == 3
    assert names(again) == ["a", "b"]
    assert names(again, GalleryQuery(binned=True)) == ["c"]


def test_a_clip_whose_files_are_gone_can_still_be_binned(gallery: Gallery, folder: Path) -> None:
    put(folder, "a")
    gallery.rescan()
    for path in folder.iterdir():
        path.unlink()
    gallery.rescan()
    assert names(gallery) == ["a"]
    gallery.bin(["job-a"])
    assert gallery.empty_bin() == 1
    assert names(gallery) == []
