"""Pages, words and filters of the gallery, and rows that hold nonsense."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.files.clips import names, put, show_page
from tests.support.requests import make_request
from wan_pipeline.clips.gallery import Gallery, GalleryQuery
from wan_pipeline.errors import StorageError, UserError
from wan_pipeline.requests.request import LoraChoice
from wan_pipeline.storage.database import Database


def test_pages_come_with_the_number_of_all(gallery: Gallery, folder: Path) -> None:
    for hour in range(5):
        put(folder, f"clip{hour}", hour=hour)
    gallery.rescan()
    page = gallery.page(GalleryQuery(), 2, 2)
    assert [clip.path.stem for clip in page.items] == ["clip2", "clip1"]
    assert page.total == 5


HOSTILE_COLUMNS = [
    ("made_at", "0001-01-01T00:00:00+00:00"),
    ("made_at", "9999-12-31T23:59:59+00:00"),
    ("made_at", "noon"),
    ("made_at", ""),
    ("seconds", 1e308),
    ("seconds", float("inf")),
    ("seconds", -1.0),
    ("request", ""),
    ("request", "null"),
    ("request", "[" * 100_000),
    ("request", json.dumps(make_request().to_dict() | {"guidance_scale": float("nan")})),
    ("request", json.dumps(make_request().to_dict() | {"num_frames": 10**30})),
    ("request", json.dumps(make_request().to_dict() | {"fps": 0})),
    ("request", json.dumps(make_request().to_dict() | {"height": 0, "width": -1})),
    ("request", json.dumps(make_request().to_dict() | {"prompt": "\ud800"})),
    ("project", "x" * 100_000),
    ("note", "</textarea><script>"),
]


@pytest.mark.parametrize(("column", "value"), HOSTILE_COLUMNS, ids=lambda value: str(value)[:40])
def test_rows_of_an_older_version_break_no_page(
    gallery: Gallery, folder: Path, tmp_path: Path, column: str, value: object
) -> None:
    put(folder, "a")
    put(folder, "b", hour=1)
    gallery.rescan()
    with Database(tmp_path / "studio.sqlite3").transaction() as connection:
        connection.execute(f"UPDATE clips SET {column} = ? WHERE id = 'job-a'", (value,))  # noqa: S608
    assert "a red ball bounces" in show_page(gallery)
    clip = gallery.clip("job-a")
    assert (clip.request_error is not None) == (column == "request")
    assert gallery.clip("job-b").request_error is None
    gallery.note("job-a", "still works")
    gallery.bin(["job-a"])
    assert names(gallery, GalleryQuery(binned=True)) == ["a"]


def test_16_texts_that_are_none_are_refused(gallery: Gallery, folder: Path) -> None:
    put(folder, "a")
    gallery.rescan()
    assert names(gallery, GalleryQuery(project="\ud800")) == []
    with pytest.raises(UserError, match=r"The search holds a control character \(U\+D800\)"):
        names(gallery, GalleryQuery(text="\ud800"))
    with pytest.raises(UserError, match=r"The note holds a control character \(U\+D800\)"):
        gallery.note("job-a", "half \ud800")


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


def test_many_clips_are_found_by_one_query(gallery: Gallery, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "abc":
        put(folder, name)
    gallery.rescan()
    a, b, c = (gallery.at(folder / f"{name}.mp4") for name in "abc")
    asked: list[str] = []
    connect = Database.connection

    @contextmanager
    def traced(database: Database) -> Iterator[sqlite3.Connection]:
        with connect(database) as connection:
            connection.set_trace_callback(asked.append)
            yield connection

    monkeypatch.setattr(Database, "connection", traced)
    assert gallery.existing([c.id, "gone", a.id]) == [c, a]
    assert gallery.of_files([b.path, folder / "gone.mp4", folder.parent / "a.mp4", a.path]) == [b, a]
    assert len([query for query in asked if query.startswith("SELECT")]) == 2
