"""What a rescan finds: real files, real SQLite. The folder is the truth, and stars and notes stay."""

from __future__ import annotations

import json
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.files.clips import NOON, names, put, show_page
from tests.support.files.receipts import EXTREME_RECEIPTS, HOSTILE_RECEIPTS, stored_receipt
from tests.support.queues import OpenQueue
from tests.support.requests import make_request
from wan_pipeline.clips.encode import encode
from wan_pipeline.clips.gallery import Gallery, GalleryQuery, rows, scan
from wan_pipeline.clips.gallery.scan import Entry
from wan_pipeline.clips.receipt import receipt_inside
from wan_pipeline.jobs.job import NewJob
from wan_pipeline.settings import Settings
from wan_pipeline.storage.database import Database
from wan_pipeline.studio import Studio


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
