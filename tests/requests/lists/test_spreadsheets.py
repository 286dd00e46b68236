"""Lists as people have them, and how long a long one takes."""

from __future__ import annotations

import json
import time
import zipfile
from datetime import date
from itertools import pairwise
from pathlib import Path

import pytest
from openpyxl import Workbook
from PIL import Image

from tests.support.studios import finish
from wan_pipeline.clips.gallery import GalleryQuery
from wan_pipeline.errors import UserError
from wan_pipeline.requests.limits import MAX_SEED
from wan_pipeline.requests.lists import files, sheet
from wan_pipeline.requests.lists.files import QueueFile, read_queue_file
from wan_pipeline.requests.request import Draft, LoraChoice
from wan_pipeline.settings import Settings
from wan_pipeline.studio import Studio

CASES = Path(__file__).parent / "cases"


def read(tmp_path: Path, content: str | bytes, name: str = "jobs.csv", *, own_disk: bool = False) -> QueueFile:
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_queue_file(tmp_path / name, tmp_path, own_disk=own_disk)


def case(name: str) -> QueueFile:
    content = read_queue_file(CASES / name, CASES, own_disk=False)
    assert content.bad_rows == ()
    return content


def drafts(content: QueueFile) -> list[Draft]:
    assert content.bad_rows == ()
    return [row.draft for row in content.rows]


def test_14_decimal_commas_in_semicolon_files() -> None:
    assert drafts(case("semi.csv")) == [Draft("a red ball, slow", seed=1, guidance_scale=3.5)]
    assert drafts(case("lora_de.csv")) == [Draft("a red ball", loras=(LoraChoice("musubi", 0.8),))]


def test_14_decimal_commas_elsewhere_only_where_they_are_no_thousands(tmp_path: Path) -> None:
    assert drafts(read(tmp_path, 'prompt,guidance\na,"3,5"\n'))[0].guidance_scale == 3.5
    assert drafts(read(tmp_path, "prompt;guidance\na;3,125\n"))[0].guidance_scale == 3.125
    (problem,) = read(tmp_path, 'prompt,guidance\na,"3,125"\n').problems
    assert problem == "Row 2, column guidance: The guidance '3,125' is not a number; use one such as 3.5."


@pytest.mark.parametrize("text", ["42", "42.0", "42.00", " 42 "])
def test_14_whole_numbers_with_a_point(text: str, tmp_path: Path) -> None:
    assert drafts(read(tmp_path, f"prompt,seed\na,{text}\n"))[0].seed == 42


def test_14_a_number_that_the_spreadsheet_has_cut_is_refused(tmp_path: Path) -> None:
    (problem,) = read(tmp_path, "prompt,seed\na,8.04822E+14\n").problems
    assert problem.startswith("Row 2, column seed: The seed '8.04822E+14' is not a whole number")


@pytest.mark.parametrize("start", ["sep=;\r\n", '"sep=;"\n', "\n\n", ";;\n;;\n", "\ufeffsep=;\n"])
def test_14_what_stands_above_the_header(start: str, tmp_path: Path) -> None:
    content = read(tmp_path, f"{start}prompt;seed\na, b;1\n;2,5\n")
    assert [row.draft for row in content.rows] == [Draft("a, b", seed=1)]
    blank = 0 if "sep" in start else 2
    assert content.rows[0].number == 2 + blank
    assert content.problems[0].startswith(f"Row {3 + blank}, column seed: The seed '2.5'")


def test_14_headings_in_any_spelling(tmp_path: Path) -> None:
    content = read(tmp_path, "PROMPT,Negative Prompt,num_frames,guidance_scale,Style,LoRAs\na,dull,9,4,Noir,film\n")
    expected = Draft("a", preset="Noir", negative_prompt="dull", num_frames=9, guidance_scale=4.0)
    assert drafts(content)[0] == Draft(**{**vars(expected), "loras": (LoraChoice("film"),)})


def test_14_styles_by_title(studio: Studio, tmp_path: Path) -> None:
    (tmp_path / "jobs.csv").write_text("prompt,preset\na,Golden hour\nb,golden-hour\nc,GOLDEN HOUR\n")
    with studio.lists.read(tmp_path / "jobs.csv") as content:
        ids = studio.lists.submit(content)
    assert {studio.jobs.existing(job_id).request.preset for job_id in ids} == {"golden-hour"}


def test_14_windows_1252_is_read_and_told() -> None:
    content = case("cp1252.csv")
    assert drafts(content) == [Draft("a café – “quoted” ball", seed=1)]
    assert content.warnings[0].startswith("cp1252.csv is not UTF-8 and was read as Windows-1252; if letters look wrong")


def test_14_random_and_long_seeds(studio: Studio) -> None:
    for name, seeds in (("seed_minus1.csv", range(2**32)), ("seed_64.csv", [804822466654819])):
        with studio.lists.read(CASES / name) as content:
            (job_id,) = studio.lists.submit(content)
        assert studio.jobs.existing(job_id).request.seed in seeds


def test_14_the_longest_seed_makes_a_clip(studio: Studio, settings: Settings) -> None:
    (job,) = finish(studio, settings, Draft("a", seed=MAX_SEED, width=160, height=160, num_frames=5))
    assert (job.error, job.request.seed) == (None, MAX_SEED)
    (problem,) = read(settings.workspace, f"prompt,seed\na,{MAX_SEED + 1}\n").rows
    with pytest.raises(UserError, match=f"Seed {MAX_SEED + 1} is out of range"):
        studio.submit(problem.draft)


@pytest.mark.parametrize("name", ["arr.json", "arr_pretty.json"])
def test_14_json_arrays(name: str) -> None:
    assert drafts(case(name)) == [Draft("a red ball", seed=1), Draft("b")]


def test_14_json_on_many_lines(tmp_path: Path) -> None:
    objects = '{\n "prompt": "a"\n}\n{\n "prompt": "b", "seed": 4.0\n}\n'
    for name in ("jobs.json", "jobs.txt"):
        assert drafts(read(tmp_path, objects, name)) == [Draft("a"), Draft("b", seed=4)]
    content = read(tmp_path, '[{"prompt": "a"}, 7,\n {"prompt": "b", "seed": 1e999}]', "jobs.json")
    assert [str(row) for row in content.bad_rows] == [
        "Row 2: It is a JSON int, not an object; write one object a line.",
        "Row 3: It cannot be read: 'seed' is inf, which is not a finite number; write one JSON object a line.",
    ]
    with pytest.raises(UserError, match=r"jobs.json is no JSON array of clips \(Expecting"):
        read(tmp_path, '[\n{"prompt": "a"},\n{"prompt": ', "jobs.json")


def test_14_unknown_columns_are_kept_as_notes(studio: Studio, settings: Settings, tmp_path: Path) -> None:
    text = "camera,prompt,sead,width,height,frames,Note\nA 12,a red ball,5,160,160,5,slow\n"
    (tmp_path / "jobs.csv").write_text(text)
    with studio.lists.read(tmp_path / "jobs.csv") as content:
        assert content.warnings == (
            "The columns 'camera', 'sead' (did you mean seed?) set nothing of a clip; what they hold is kept as the "
            "clip's note.",
        )
        (job_id,) = studio.lists.submit(content)
    assert studio.jobs.existing(job_id).note == "slow\ncamera: A 12\nsead: 5"
    finish(studio, settings)
    assert studio.gallery.clip(job_id).note == "slow\ncamera: A 12\nsead: 5"
    assert studio.gallery.page(GalleryQuery("A 12"), 0, 9).total == 1


def test_14_an_unknown_column_of_any_length_refuses_no_row(tmp_path: Path) -> None:
    """Such as one of workflows, which sets nothing."""
    path = tmp_path / "list.jsonl"
    row = {"prompt": "a red ball", "note": "slow", "workflow": "{\x07" + "x" * 5000 + "}"}
    path.write_text(json.dumps(row), encoding="utf-8")
    content = read_queue_file(path, tmp_path, own_disk=False)
    assert not content.problems
    note = content.rows[0].note
    assert (len(note), note[:20], note[-1]) == (2000, "slow\nworkflow: { xxx", "…")


def test_14_notes_and_determinism_move_with_the_queue(studio: Studio, tmp_path: Path) -> None:
    (tmp_path / "jobs.csv").write_text("prompt,scene,deterministic\na,3,yes\nb,,maybe\n")
    with studio.lists.read(tmp_path / "jobs.csv") as content:
        assert content.problems[0].startswith("Row 3, column deterministic: Its deterministic is 'maybe'")
        studio.lists.submit(content, skip_bad=True)
    with studio.lists.read(studio.lists.export()) as again:
        assert [(row.note, row.deterministic) for row in again.rows] == [("scene: 3", True)]


def test_14_home_folder_in_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    (row,) = read(tmp_path, "prompt,image\na,~/photo.png\n", own_disk=True).rows
    assert row.draft.image == tmp_path / "home" / "photo.png"


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("a,,,ghost", "Row 2, column lora: There is no LoRA 'ghost'"),
        ("a,500,", "Row 2, column steps: Steps 500 is out of range; use a whole number from 1 to 200."),
        ("a,,330", "Row 2, column width: Width 330 is not a multiple of 32"),
    ],
)
def test_14_a_problem_names_row_column_value_and_rule(row: str, says: str, studio: Studio, tmp_path: Path) -> None:
    (tmp_path / "jobs.csv").write_text(f"prompt,num_inference_steps,width,lora\n{row}\n")
    with studio.lists.read(tmp_path / "jobs.csv") as content:
        assert content.problems[0].startswith(says)


# Workbooks


def workbook(path: Path, *rows: tuple[object, ...]) -> Path:
    book = Workbook()
    for row in rows:
        book.active.append(row)
    book.create_sheet("other").append(("not", "read"))
    book.save(path)
    return path


def test_14_excel_workbooks(tmp_path: Path) -> None:
    header = ("Prompt", "Seed", "Guidance", "LoRA", "Cut", "Made")
    first = ("a red ball", 42.0, 3.5, "film=0,8", 7, date(2026, 1, 2))
    path = workbook(tmp_path / "jobs.xlsx", (), header, first, (), (None, True), ("b", -1, "4,5"))
    content = read_queue_file(path, tmp_path, own_disk=False)
    ball, random = content.rows
    film = (LoraChoice("film", 0.8),)
    assert (ball.number, ball.draft) == (3, Draft("a red ball", seed=42, guidance_scale=3.5, loras=film))
    assert ball.note == 'Cut: 7\nMade: "2026-01-02 00:00:00"'
    assert (random.number, random.draft) == (6, Draft("b", seed=-1, guidance_scale=4.5))
    assert content.problems == ("Row 5, column seed: Its seed is true; write text or a number.",)


@pytest.mark.parametrize("what", ["bomb", "cut", "empty", "wide", "long", "ods", "xls", "no sheet xml", "entities"])
def test_14_a_bad_workbook_is_one_sentence(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = workbook(tmp_path / "jobs.xlsx", ("prompt", "seed"), ("a", 1))
    match what:
        case "bomb":
            with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
                archive.writestr("xl/more.xml", bytes(sheet.MAX_UNPACKED_BYTES))
        case "cut":
            path.write_bytes(path.read_bytes()[:-400])
        case "empty":
            workbook(path)
        case "wide":
            workbook(path, ("prompt", *range(300)))
        case "long":
            monkeypatch.setattr(files, "MAX_ROWS", 3)
            workbook(path, ("prompt",), *[("a",)] * 4)
        case "ods":
            with zipfile.ZipFile(path, "w") as archive:
                archive.writestr("content.xml", "")
        case "xls":
            path.write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(512))
        case _:
            parts = {name: zipfile.ZipFile(path).read(name) for name in zipfile.ZipFile(path).namelist()}
            xml = b"<nothing" if what == "no sheet xml" else _entities()
            parts["xl/worksheets/sheet1.xml"] = xml
            with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
                for name, content in parts.items():
                    archive.writestr(name, content)
    with pytest.raises(UserError) as raised:
        read_queue_file(path, tmp_path, own_disk=False)
    assert "\n" not in str(raised.value) and len(str(raised.value)) < 300


def _entities() -> bytes:
    """A hundred million letters by ten lines of XML."""
    names = "abcdefgh"
    rules = "".join(f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in pairwise(names))
    cell = '<row r="1"><c r="A1" t="inlineStr"><is><t>&h;</t></is></c></row>'
    return (
        f'<!DOCTYPE x [<!ENTITY a "0123456789">{rules}]>'
        '<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main">'
        f"<sheetData>{cell}</sheetData></worksheet>"
    ).encode()


# Long lists


@pytest.mark.soak
def test_15_five_thousand_rows_are_checked_in_three_seconds(studio: Studio, tmp_path: Path) -> None:
    Image.new("RGB", (320, 192), "orange").save(tmp_path / "photo.png")
    lines = "".join(f"ball {number},{number},noir,photo.png\n" for number in range(5000))
    (tmp_path / "long.csv").write_text(f"prompt,seed,preset,image\n{lines}")
    started = time.thread_time()
    with studio.lists.read(tmp_path / "long.csv", own_disk=True) as content:
        assert time.thread_time() - started < 6.0  # 3 s on an idle machine, where a row costs half a millisecond
        assert len(content.rows) == 5000
        started = time.thread_time()
        assert len(studio.lists.submit(content)) == 5000
        assert time.thread_time() - started < 6.0  # 3 s on an idle machine, where a row costs half a millisecond


def test_15_rows_are_checked_once(studio: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was checked is queued as it was then: its random seed, and no second look at the model."""
    (tmp_path / "jobs.csv").write_text("prompt\na\nb\n")
    with studio.lists.read(tmp_path / "jobs.csv") as content:
        monkeypatch.setattr(studio.models, "find", lambda model: pytest.fail(f"{model} is checked again"))
        ids = studio.lists.submit(content)
        seeds = [row.request.seed for row in content.rows if row.request]
    assert [studio.jobs.existing(job_id).request.seed for job_id in ids] == seeds
