"""Clip names: readable, sortable, safe on every file system."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.support.requests import make_request
from wan_pipeline.clips.naming import check_output, clip_name, export_path, key_of
from wan_pipeline.errors import StorageError

NOW = datetime(2026, 11, 22, 15, 45, 1, tzinfo=UTC)
JOB = "1f0c9a2e" + "0" * 24


def test_a_name_tells_when_what_seed_and_job() -> None:
    when = NOW.astimezone().strftime("%Y-%m-%d_%H%M%S")
    name = clip_name(make_request(prompt="A red ball, bounces!"), NOW, JOB)
    assert name == f"{when}_a-red-ball-bounces_seed42_1f0c9a2e.mp4"


def test_names_sort_by_time() -> None:
    names = [clip_name(make_request(prompt=p), NOW + timedelta(seconds=n), JOB) for n, p in enumerate("zyx")]
    assert names == sorted(names)


@pytest.mark.parametrize(
    "prompt",
    [
        "",
        "../../etc/passwd",
        "C:\\Windows\\system32",
        'a/b\\c:d*e?f"g<h>i|j',
        "line\nbreak\ttab",
        "word " * 1000,
        "w" * 4000,
        "红" * 4000,
        "🎈" * 50,
        "...",
        "%2e%2e",
    ],
)
def test_any_prompt_makes_a_safe_name(prompt: str, tmp_path: Path) -> None:
    name = clip_name(make_request(prompt=prompt), NOW, JOB)
    assert not set(name) & set('/\\:*?"<>| \n\t%')
    assert len(f"{name}.12345678.part".encode()) < 250
    (tmp_path / name).touch()
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_long_prompts_end_at_a_word() -> None:
    assert "_a-quite-long-prompt-about-a-small-red_seed" in clip_name(
        make_request(prompt="a quite long prompt about a small red hexagon"), NOW, JOB
    )


def test_words_of_any_script_stay() -> None:
    assert "_红色的球_seed" in clip_name(make_request(prompt="红色的球！"), NOW, JOB)


@pytest.mark.parametrize("name", ["clip.avi", "clip", "folder.mp4"])
def test_an_output_must_be_an_mp4_file(name: str, tmp_path: Path) -> None:
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(StorageError, match=r"ends in \.mp4"):
        check_output(tmp_path / name)


def test_an_output_does_not_take_a_strangers_files_with_it(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text("{}")
    with pytest.raises(StorageError, match=r"report\.json would replace a file"):
        check_output(tmp_path / "report.mp4")
    (tmp_path / "report.mp4").touch()
    check_output(tmp_path / "report.mp4")


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("लाल गेंद पहाड़ी पर", "लाल-गेंद-पहाड़ी-पर"),
        ("ลูกบอลสีแดงกระเด้ง", "ลูกบอลสีแดงกระเด้ง"),
        ("Cafe\u0301 am Fluß", "café-am-fluß"),
        ("می\u200cخواهم", "میخواهم"),
        ("שָׁלוֹם", unicodedata.normalize("NFC", "שָׁלוֹם")),
    ],
)
def test_17_combining_marks_stay_in_names(prompt: str, words: str, tmp_path: Path) -> None:
    name = clip_name(make_request(prompt=prompt), NOW, JOB)
    assert name.split("_")[2] == unicodedata.normalize("NFC", words)
    assert unicodedata.is_normalized("NFC", name)
    (tmp_path / name).touch()


def test_17_a_long_word_is_cut_before_a_letter_and_not_before_its_mark() -> None:
    words = clip_name(make_request(prompt="สี" * 30), NOW, JOB).split("_")[2]
    assert words == "สี" * 20
    assert clip_name(make_request(prompt="x" + "สี" * 30), NOW, JOB).split("_")[2] == "x" + "สี" * 19


def test_files_made_from_clips_of_one_name_are_apart(tmp_path: Path) -> None:
    clips, exports = tmp_path / "clips", tmp_path / "exports"
    one, two, other = clips / "1" / "010.mp4", clips / "2" / "010.mp4", tmp_path / "010.mp4"
    assert export_path(one, clips, exports, "_x2.mp4") == exports / "1" / "010_x2.mp4"
    assert export_path(clips / "a.mp4", clips, exports, ".zip") == exports / "a.zip"
    assert len({export_path(each, clips, exports, ".zip") for each in (one, two, other)}) == 3
    assert len({key_of(each, clips) for each in (one, two, other)}) == 3
    moved = tmp_path / "moved" / "clips"
    assert key_of(moved / "1" / "010.mp4", moved) == key_of(one, clips), "the workspace may move"
