"""The gallery: real files, real SQLite. The folder is the truth, and stars and notes stay."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.files.receipts import EXTREME_RECEIPTS, HOSTILE_RECEIPTS, make_receipt, stored_receipt
from tests.support.queues import OpenQueue
from tests.support.requests import make_request
from wan_pipeline.clips.encode import encode
from wan_pipeline.clips.gallery import Gallery, GalleryQuery, rows, scan
from wan_pipeline.clips.gallery.scan import Entry
from wan_pipeline.clips.receipt import receipt_inside
from wan_pipeline.errors import StorageError, UserError
from wan_pipeline.jobs.job import NewJob
from wan_pipeline.requests.request import LoraChoice
from wan_pipeline.settings import Settings
from wan_pipeline.storage.database import Database
from wan_pipeline.studio import Studio
from wan_pipeline.wording import duration

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "clips").mkdir()
    return tmp_path / "clips"


@pytest.fixture
def gallery(tmp_path: Path, folder: Path) -> Gallery:
    return Gallery(Database.create(tmp_path / "studio.sqlite3"), folder)


def put(folder: Path, name: str, *, hour: int = 0, receipt: dict[str, Any] | None = None, **request: Any) -> None:
    """A clip's files, as the worker leaves them. The pictures hold nothing."""
    (folder / f"{name}.mp4").write_bytes(b"mp4")
    (folder / f"{name}.webp").write_bytes(b"webp")
    (folder / f"{name}.latents").write_bytes(b"latents")
    facts = {"job": f"job-{name}", "made_at": (NOON + timedelta(hours=hour)).isoformat(), **(receipt or {})}
    content = make_receipt(request=make_request(**request).to_dict(), **facts)
    (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")


def names(gallery: Gallery, query: GalleryQuery | None = None, offset: int = 0, limit: int = 100) -> list[str]:
    return [clip.path.stem for clip in gallery.page(query or GalleryQuery(), offset, limit).items]


def show_page(gallery: Gallery) -> str:
    """All that a page computes of its clips, as text that a browser can be sent."""
    lines = []
    for clip in gallery.page(GalleryQuery(), 0, 100).items:
        request, when = clip.request, clip.made_at.astimezone().strftime("%d %b %Y, %H:%M")
        ratio, length = request.width / request.height, (request.num_frames - 1) / request.fps
        lines.append(f"{clip.id} {request.prompt} {when} {ratio:.5f} {length:.3g} s, {duration(clip.seconds)}")
    return "\n".join(lines).encode().decode()


def test_what_is_in_the_folder_is_listed_once_newest_first(gallery: Gallery, folder: Path) -> None:
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


def test_clips_of_older_versions_are_listed(gallery: Gallery, folder: Path) -> None:
    for version in (1, 2):
        put(folder, f"v{version}")
        (folder / f"v{version}.json").write_text(json.dumps(stored_receipt(version)), encoding="utf-8")
    assert gallery.rescan() == 2 and gallery.problems == ()
    second, first = gallery.page(GalleryQuery(), 0, 9).items
    assert (first.id, first.seconds, first.project, first.request.preset) == ("v1", 12.75, "", "noir")
    assert (second.id, second.seconds, second.project) == ("0123456789abcdef" * 2, 1050.75, "hills; night")


def test_bad_receipts_are_skipped_and_told(gallery: Gallery, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Each of them once stopped the app at its start, emptied the gallery, or was skipped without a word."""
    for number, (content, _) in enumerate(HOSTILE_RECEIPTS.values()):
        put(folder, f"bad{number:02}")
        (folder / f"bad{number:02}.json").write_bytes(content)
    put(folder, "good")
    (folder / "plain.mp4").write_bytes(b"somebody else's, without a receipt")
    assert gallery.rescan() == 1
    assert names(gallery) == ["good"]
    assert len(gallery.problems) == len(HOSTILE_RECEIPTS)
    for number, ((_, says), problem) in enumerate(zip(HOSTILE_RECEIPTS.values(), gallery.problems, strict=True)):
        assert problem.startswith(f"bad{number:02}.mp4 is not listed. The receipt ") and says in problem
        assert len(problem) < 300 and "\n" not in problem and problem.encode()
    assert caplog.messages == list(gallery.problems)
    assert gallery.rescan() == 0
    assert len(caplog.messages) == len(gallery.problems)  # told once, not at each visit
    for number in range(len(HOSTILE_RECEIPTS)):
        (folder / f"bad{number:02}.json").unlink()
    gallery.rescan()
    assert gallery.problems == ()
    assert show_page(gallery)


def test_the_studio_tells_of_files_that_cannot_be_listed(settings: Settings) -> None:
    with Studio(settings) as studio:
        studio.gallery.rescan()
        assert studio.notices == ()
        for name in "ab":
            put(settings.clips, name)
            (settings.clips / f"{name}.json").write_bytes(HOSTILE_RECEIPTS["half a surrogate pair"][0])
        studio.gallery.rescan()
        (notice,) = studio.notices
        assert notice.startswith(f"2 files of {settings.clips} cannot be listed. a.mp4 is not listed. The receipt ")


def test_extreme_receipts_break_no_page(gallery: Gallery, folder: Path) -> None:
    for number, receipt in enumerate(EXTREME_RECEIPTS.values()):
        put(folder, f"clip{number}")
        job = receipt["job"] and f"{number:032}"
        (folder / f"clip{number}.json").write_text(json.dumps(receipt | {"job": job}), encoding="utf-8")
    assert gallery.rescan() == len(EXTREME_RECEIPTS) and gallery.problems == ()
    assert show_page(gallery)
    assert gallery.facets().loras


def test_files_that_are_none_are_skipped(gallery: Gallery, folder: Path) -> None:
    put(folder, "good")
    put(folder, "pipe")
    (folder / "pipe.json").unlink()
    if sys.platform != "win32":
        os.mkfifo(folder / "pipe.json")
        put(folder, "caf\udce9")
    (folder / "a folder.mp4").mkdir()
    (folder / "bin").write_text("in the way")
    assert gallery.rescan() == 1
    assert names(gallery) == ["good"]
    if sys.platform != "win32":
        assert [problem.encode() for problem in gallery.problems] == [
            b"caf?.mp4 is not listed. Its name is not UTF-8; rename it.",
            b"pipe.mp4 is not listed. The receipt cannot be read: it is not a regular file.",
        ]


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


def test_a_copy_of_a_clip_is_listed_beside_it(gallery: Gallery, folder: Path) -> None:
    """Its receipt names the same job. Neither may push the other out, whichever is read first."""
    put(folder, "b", receipt={"job": "0" * 32})
    gallery.rescan()
    gallery.star("0" * 32, True)
    for name in ("a", "c (1)"):
        put(folder, name, receipt={"job": "0" * 32})
    assert gallery.rescan() == 2
    assert gallery.rescan() == 0
    assert sorted(names(gallery)) == ["a", "b", "c (1)"]
    assert gallery.clip("0" * 32).path.stem == "b" and gallery.clip("0" * 32).starred
    assert " " not in "".join(clip.id for clip in gallery.page(GalleryQuery(), 0, 9).items)


def test_17_a_copy_without_its_receipt_is_listed_by_the_one_inside(gallery: Gallery, folder: Path) -> None:
    frames = np.full((5, 32, 48, 3), 200, np.uint8)
    put(folder, "2026_ball_0000")
    receipt = json.loads((folder / "2026_ball_0000.json").read_text(encoding="utf-8"))
    encode(frames, 16, folder / "2026_ball_0000.mp4", receipt)
    encode(frames, 16, folder / "stripped.mp4", None)
    copies = ["copy of 2026_ball_0000", "2026_ball_0000 (1)"]
    for name in copies:
        shutil.copyfile(folder / "2026_ball_0000.mp4", folder / f"{name}.mp4")
    for _ in range(3):
        gallery.rescan()
        clips = {clip.path.stem: clip for clip in gallery.page(GalleryQuery(), 0, 9).items}
        assert sorted(clips) == sorted(["2026_ball_0000", *copies]) and gallery.problems == ()
        assert clips["2026_ball_0000"].id == receipt["job"] and len({clip.id for clip in clips.values()}) == 3
        assert all(clip.request == make_request() and clip.poster.is_file() for clip in clips.values())


def test_17_a_clip_that_is_being_saved_is_not_listed_yet(gallery: Gallery, folder: Path, tmp_path: Path) -> None:
    """Whatever its project's template calls it."""
    (job,) = OpenQueue(tmp_path / "studio.sqlite3").editor.submit_many([NewJob(make_request())])
    put(folder, "010_1", receipt={"job": job})
    clip, receipt = folder / "010_1.mp4", folder / "010_1.json"
    encode(np.zeros((5, 32, 48, 3), np.uint8), 16, clip, json.loads(receipt.read_text(encoding="utf-8")))
    receipt.unlink()
    assert gallery.rescan() == 0
    with Database(tmp_path / "studio.sqlite3").transaction() as connection:
        connection.execute("UPDATE jobs SET state = 'failed', finished_at = '2026-01-02T12:00:00+00:00'")
    assert gallery.rescan() == 1


def test_clips_without_a_receipt_are_looked_into_once(
    gallery: Gallery, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until they change."""
    opened: list[str] = []
    open_path = Path.open

    def noted(path: Path, *arguments: Any, **options: Any) -> Any:
        opened.extend([path.name] if path.suffix == ".mp4" else [])
        return open_path(path, *arguments, **options)

    plain, notes = folder / "plain.mp4", folder / "notes.mp4"
    plain.write_bytes(b"somebody else's")
    encode(np.zeros((5, 32, 48, 3), np.uint8), 16, notes, {"note": "frames_sha256, by another program"})
    monkeypatch.setattr(Path, "open", noted)
    monkeypatch.setattr(scan, "receipt_inside", lambda clip: opened.append("by ffmpeg") or receipt_inside(clip))
    assert gallery.rescan() == 0 and sorted(opened) == ["by ffmpeg", "notes.mp4", "plain.mp4"]
    opened.clear()
    assert gallery.rescan() == 0 and opened == []
    plain.write_bytes(b"somebody else's, longer")
    os.utime(notes, (1, 1))
    opened.clear()
    assert gallery.rescan() == 0 and sorted(opened) == ["by ffmpeg", "notes.mp4", "plain.mp4"]
    put(folder, "plain")  # its receipt came
    assert gallery.rescan() == 1


def test_a_clip_that_was_renamed_stays_the_same(gallery: Gallery, folder: Path) -> None:
    put(folder, "a")
    gallery.rescan()
    gallery.star("job-a", True)
    for path in folder.iterdir():
        path.rename(path.with_stem("renamed"))
    gallery.rescan()
    assert names(gallery) == ["renamed"]
    assert gallery.clip("job-a").starred


def test_the_workers_row_takes_the_place_of_another_with_its_id(gallery: Gallery, folder: Path, tmp_path: Path) -> None:
    """A receipt that claims the job of a running worker does not keep the worker from finishing."""
    put(folder, "claims", receipt={"job": "0" * 32}, hour=1)
    put(folder, "real", receipt={"job": "0" * 32}, hour=2)
    gallery.rescan()
    entry = Entry("0" * 32, make_request(), "real.mp4", "real.webp", NOON.isoformat(), "0" * 64, 3.0)
    with Database(tmp_path / "studio.sqlite3").transaction() as connection:
        rows.add(connection, entry)
    assert gallery.clip("0" * 32).path.stem == "real"
    gallery.rescan()
    assert sorted(names(gallery)) == ["claims", "real"]


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


def test_adding_twice_keeps_what_the_person_has_set(gallery: Gallery, folder: Path, tmp_path: Path) -> None:
    """A rescan may be quicker than the worker's own row, and a job's clip may be adopted after that."""
    put(folder, "a", receipt={"job": ...})
    gallery.rescan()
    gallery.star("a", True)
    gallery.note("a", "keep")
    request = make_request()
    entry = Entry("the job", request, "a.mp4", "a.webp", NOON.isoformat(), "0" * 64, 3.0, "Film")
    for again in (entry, replace(entry, seconds=4.0)):
        with Database(tmp_path / "studio.sqlite3").transaction() as connection:
            rows.add(connection, again)
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


@pytest.mark.parametrize("prefix", ["copy of ", "0 "])
@pytest.mark.parametrize("is_copy_first", [True, False])
def test_17_a_copied_clip_and_the_original_are_both_shown(
    gallery: Gallery, folder: Path, tmp_path: Path, prefix: str, is_copy_first: bool
) -> None:
    """At every rescan, and when the worker's own row comes after that of the copy."""
    put(folder, "ball", receipt={"job": "0" * 32})
    if not is_copy_first:
        gallery.rescan()
    for path in list(folder.iterdir()):
        (folder / f"{prefix}{path.name}").write_bytes(path.read_bytes())
    for _ in range(3):
        gallery.rescan()
        assert sorted(names(gallery)) == sorted(["ball", f"{prefix}ball"])
    entry = Entry("0" * 32, make_request(), "ball.mp4", "ball.webp", NOON.isoformat(), "0" * 64, 3.0)
    with Database(tmp_path / "studio.sqlite3").transaction() as connection:
        rows.add(connection, entry, folder)
    assert gallery.clip("0" * 32).path.stem == "ball"
    assert sorted(names(gallery)) == sorted(["ball", f"{prefix}ball"])
    assert gallery.rescan() == 0


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
