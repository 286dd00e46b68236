"""The gallery: real files, real SQLite. The folder is the truth, and what a person has set is kept."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support.requests import make_request
from wan_pipeline.clips import gallery as room
from wan_pipeline.clips.gallery import Gallery, GalleryQuery
from wan_pipeline.clips.sidecars import Entry
from wan_pipeline.errors import StorageError, UserError
from wan_pipeline.requests.request import LoraChoice
from wan_pipeline.storage.database import Database

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "clips").mkdir()
    return tmp_path / "clips"


@pytest.fixture
def gallery(tmp_path: Path, folder: Path) -> Gallery:
    return Gallery(Database(tmp_path / "studio.sqlite3"), folder)


def put(folder: Path, name: str, *, hour: int = 0, receipt: dict[str, Any] | None = None, **request: Any) -> None:
    """A clip's three files, as the worker leaves them. The pictures hold nothing."""
    (folder / f"{name}.mp4").write_bytes(b"mp4")
    (folder / f"{name}.webp").write_bytes(b"webp")
    content = {
        "job": f"job-{name}",
        "made_at": (NOON + timedelta(hours=hour)).isoformat(),
        "request": make_request(**request).to_dict(),
        "frames_sha256": "f" * 64,
        "seconds": {"denoising": 2.0, "decoding": 0.5},
        **(receipt or {}),
    }
    (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")


def names(gallery: Gallery, query: GalleryQuery | None = None, offset: int = 0, limit: int = 100) -> list[str]:
    return [clip.path.stem for clip in gallery.page(query or GalleryQuery(), offset, limit).items]


def test_what_lies_in_the_folder_is_listed_once_newest_first(gallery: Gallery, folder: Path) -> None:
    for hour, name in enumerate(("old", "middle", "new")):
        put(folder, name, hour=hour)
    assert gallery.rescan() == 3
    assert gallery.rescan() == 0
    assert names(gallery) == ["new", "middle", "old"]
    clip = gallery.clip("job-new")
    assert clip.path.is_file()
    assert clip.poster.is_file()
    assert clip.seconds == 2.5
    assert clip.request == make_request()


def test_pages_come_with_the_number_of_all(gallery: Gallery, folder: Path) -> None:
    for hour in range(5):
        put(folder, f"clip{hour}", hour=hour)
    gallery.rescan()
    page = gallery.page(GalleryQuery(), 2, 2)
    assert [clip.path.stem for clip in page.items] == ["clip2", "clip1"]
    assert page.total == 5


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        "null",
        '{"request": {}}',
        '{"request": 3, "made_at": "2026-01-01"}',
        "\udcff not utf-8",
        "x" * 2**21,
    ],
)
def test_a_receipt_that_cannot_be_read_is_left_out(gallery: Gallery, folder: Path, content: str) -> None:
    put(folder, "good")
    put(folder, "bad")
    (folder / "bad.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    (folder / "plain.mp4").write_bytes(b"somebody else's, without a receipt")
    gallery.rescan()
    assert names(gallery) == ["good"]


@pytest.mark.parametrize(
    "wrong", [{"prompt": 3}, {"width": "wide"}, {"fps": 0}, {"loras": [{"name": 1}]}, {"seed": None}]
)
def test_a_receipt_with_wrong_kinds_of_values_is_left_out(
    gallery: Gallery, folder: Path, wrong: dict[str, Any]
) -> None:
    put(folder, "bad", receipt={"request": {**make_request().to_dict(), **wrong}})
    gallery.rescan()
    assert names(gallery) == []


def test_words_are_found_in_any_order_and_case(gallery: Gallery, folder: Path) -> None:
    put(folder, "one", prompt="Ein großes BOOT im Meer")
    put(folder, "two", prompt="a boat 100% red_green")
    gallery.rescan()
    for text, expected in (
        ("meer boot", ["one"]),
        ("GROSSES", ["one"]),
        ("100%", ["two"]),
        ("red_green", ["two"]),
        ("%", ["two"]),
        ("' OR 1=1 --", []),
        ("  ", ["two", "one"]),
    ):
        assert names(gallery, GalleryQuery(text=text)) == expected, text
    gallery.note("job-one", "Für den Abspann")
    assert names(gallery, GalleryQuery(text="abspann boot")) == ["one"]


def test_filters_narrow_together(gallery: Gallery, folder: Path) -> None:
    put(folder, "a", preset="noir", loras=(LoraChoice("ink wash"),), receipt={"project": "Film"})
    put(folder, "b", preset="noir", loras=(LoraChoice("ink"), LoraChoice("wash")))
    put(folder, "c", model="wan2.2-ti2v-5b", receipt={"project": "Film"})
    gallery.rescan()
    gallery.star("job-a", True)
    for query, expected in (
        (GalleryQuery(lora="ink"), {"b"}),
        (GalleryQuery(lora="ink wash"), {"a"}),
        (GalleryQuery(preset="noir"), {"a", "b"}),
        (GalleryQuery(project="Film"), {"a", "c"}),
        (GalleryQuery(project="Film", preset="noir"), {"a"}),
        (GalleryQuery(model="wan2.2-ti2v-5b"), {"c"}),
        (GalleryQuery(starred=True), {"a"}),
        (GalleryQuery(starred=True, model="wan2.2-ti2v-5b"), set()),
    ):
        assert set(names(gallery, query)) == expected, query
    facets = gallery.facets()
    assert facets.projects == ("Film",)
    assert facets.models == ("demo", "wan2.2-ti2v-5b")
    assert facets.presets == ("noir",)
    assert facets.loras == ("ink", "ink wash", "wash")


def test_the_bin_takes_all_files_and_gives_them_back(gallery: Gallery, folder: Path) -> None:
    put(folder, "a")
    put(folder, "b")
    gallery.rescan()
    gallery.star("job-a", True)
    gallery.bin(["job-a"])
    assert names(gallery) == ["b"]
    assert names(gallery, GalleryQuery(binned=True)) == ["a"]
    assert sorted(path.name for path in (folder / "bin").iterdir()) == ["a.json", "a.mp4", "a.webp"]
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
    assert sorted(path.name for path in (folder / "bin").iterdir()) == ["a.json", "a.mp4", "a.webp"]


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
    again = Gallery(Database(tmp_path / "new.sqlite3"), folder)
    assert again.rescan() == 3
    assert names(again) == ["a", "b"]
    assert names(again, GalleryQuery(binned=True)) == ["c"]


def test_adding_twice_keeps_what_the_person_has_set(gallery: Gallery, folder: Path, tmp_path: Path) -> None:
    """A rescan may be quicker than the worker's own row, and a job's clip may be adopted after that."""
    put(folder, "a", receipt={"job": None})
    gallery.rescan()
    gallery.star("a", True)
    gallery.note("a", "keep")
    request = make_request()
    entry = Entry("the job", request, "a.mp4", "a.webp", NOON.isoformat(), "0" * 64, 3.0, "Film")
    for again in (entry, replace(entry, seconds=4.0)):
        with Database(tmp_path / "studio.sqlite3").transaction() as connection:
            room.add(connection, again)
    page = gallery.page(GalleryQuery(), 0, 10)
    assert page.total == 1
    clip = page.items[0]
    assert (clip.id, clip.starred, clip.note, clip.project, clip.seconds) == ("the job", True, "keep", "Film", 4.0)


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


def test_a_request_of_another_version_breaks_no_page(gallery: Gallery, folder: Path, tmp_path: Path) -> None:
    put(folder, "a", prompt="from the future")
    put(folder, "b", hour=1)
    gallery.rescan()
    future = json.dumps({**make_request(prompt="from the future").to_dict(), "shutter": 180})
    with Database(tmp_path / "studio.sqlite3").transaction() as connection:
        connection.execute("UPDATE clips SET request = ? WHERE id = 'job-a'", (future,))
    assert names(gallery) == ["b", "a"]
    assert gallery.clip("job-a").request.prompt == "from the future"


def test_faults_are_sentences(gallery: Gallery, folder: Path) -> None:
    with pytest.raises(UserError, match="There is no clip nothing"):
        gallery.clip("nothing")
    put(folder, "a")
    gallery.rescan()
    with pytest.raises(UserError, match="2,001 characters"):
        gallery.note("job-a", "x" * 2001)
    (folder / "bin").write_text("in the way")
    with pytest.raises(StorageError, match=r"a\.mp4 cannot be moved"):
        gallery.bin(["job-a"])
    assert names(gallery) == ["a"]
