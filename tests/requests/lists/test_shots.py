"""The columns of a shot list, and screenplays as lists."""

from __future__ import annotations

from pathlib import Path

import pytest
from openpyxl import Workbook

from wan_pipeline.errors import UserError
from wan_pipeline.requests.lists.files import QueueFile, read_queue_file
from wan_pipeline.requests.lists.shots import ShotOfRow

FOUNTAIN = """\
Title: The Kite
Author: somebody

FADE IN:

INT. KITCHEN - DAY #12A#

Anna *opens* the window. /* not yet
decided */

ANNA
(softly)
Wind at last.

A red kite hangs on the wall.

.THE HILL

A red kite rises over green hills.

CUT TO:

EXT. SEA - NIGHT

> FADE OUT.
"""


def read(path: Path, text: str) -> QueueFile:
    path.write_text(text, encoding="utf-8")
    return read_queue_file(path, path.parent, own_disk=True)


def test_a_shot_list_keeps_the_zeros_and_takes_the_description_as_prompt(tmp_path: Path) -> None:
    content = read(
        tmp_path / "list.csv",
        "Scene,SHOT,take,description,notes,prompt,seed\n"
        "12,010,,a red ball,Handheld,,3\n12,020,4,,,a blue fish,\n,,,,,x,\n",
    )
    assert content.bad_rows == () and content.warnings == ()
    first, second, third = content.rows
    assert first.shot == ShotOfRow("010", "12", description="a red ball", notes="Handheld")
    assert (first.draft.prompt, first.draft.seed, first.note) == ("a red ball", 3, "Handheld")
    assert (second.shot, second.draft.prompt, third.shot) == (ShotOfRow("020", "12", 4), "a blue fish", None)


def test_a_shot_list_is_read_from_a_workbook_and_from_json(tmp_path: Path) -> None:
    book = Workbook()
    for row in (["scene", "shot", "description", "take"], [1, "010", "a ball", 2.0], [1, 20, "a boat", None]):
        book.active.append(row)
    book.save(tmp_path / "list.xlsx")
    rows = read_queue_file(tmp_path / "list.xlsx", tmp_path, own_disk=True).rows
    assert [row.shot for row in rows] == [
        ShotOfRow("010", "1", 2, description="a ball"),
        ShotOfRow("20", "1", description="a boat"),
    ]
    content = read(tmp_path / "list.jsonl", '{"shot": "010", "description": "a ball", "steps": 2}\n')
    assert (content.rows[0].shot, content.rows[0].draft.num_inference_steps) == (
        ShotOfRow("010", description="a ball"),
        2,
    )


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        (",a/b,", "column shot: The shot 'a/b' is no id"),
        (",-1,", "column shot: The shot '-1' is no id"),
        (",010,zero", "column take: The take 'zero' is not a take number"),
        (",010,0", "column take: The take '0' is not a take number"),
        (f",{'x' * 41},", "column shot: The shot"),
    ],
)
def test_a_bad_shot_is_told_with_its_column(tmp_path: Path, row: str, sentence: str) -> None:
    (problem,) = read(tmp_path / "list.csv", f"scene,shot,take,prompt\n{row},a ball\n").problems
    assert sentence in problem


def test_a_scene_without_a_shot_is_kept_as_the_note(tmp_path: Path) -> None:
    content = read(tmp_path / "list.csv", "scene,prompt\n3,a ball\n")
    assert [(row.shot, row.note) for row in content.rows] == [(None, "scene: 3")]
    assert "The column 'scene' (it goes with a column shot) sets nothing of a clip" in content.warnings[0]


def test_a_screenplay_is_one_shot_a_scene(tmp_path: Path) -> None:
    rows = read(tmp_path / "kite.fountain", FOUNTAIN).rows
    assert [(row.shot.scene, row.shot.shot) for row in rows if row.shot] == [
        ("12A", "010"),
        ("2", "020"),
        ("3", "030"),
    ]
    assert rows[0].draft.prompt == "Anna opens the window. A red kite hangs on the wall."
    assert rows[0].shot and rows[0].shot.description.startswith("INT. KITCHEN - DAY. Anna opens")
    assert [row.draft.prompt for row in rows[1:]] == ["A red kite rises over green hills.", "EXT. SEA - NIGHT"]
    assert [row.number for row in rows] == [6, 17, 23]


def test_a_plain_script_is_told_from_a_table(tmp_path: Path) -> None:
    rows = read(tmp_path / "script.txt", "1. INT. HALL - NIGHT\nA door opens.\n2. EXT. STREET\nRain falls.\n").rows
    assert [(row.shot.scene, row.draft.prompt) for row in rows if row.shot] == [
        ("1", "A door opens."),
        ("2", "Rain falls."),
    ]
    table = read(tmp_path / "table.txt", "prompt,seed\nscene 3 of the sea,4\n")
    assert [(row.draft.prompt, row.shot) for row in table.rows] == [("scene 3 of the sea", None)]


def test_a_screenplay_without_a_heading_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no scene heading; begin each scene with a line such as INT\. KITCHEN"):
        read(tmp_path / "empty.fountain", "Somebody walks.\n")


@pytest.mark.parametrize("line", ["INT. A {} B", "A{}a\nx", "/*{}", "[[{}", "*_{}"])
def test_lines_as_long_as_the_file_take_no_square_of_their_length(tmp_path: Path, line: str) -> None:
    """It took ten seconds for 8,000 characters of capitals, and hours for those that a file may have."""
    long = {"INT. A {} B": " ", "/*{}": "/*", "[[{}": "[["}.get(line, "A") * 500_000
    rows = read(tmp_path / "long.fountain", f"INT. KITCHEN - DAY\n\n{line.format(long)}\n\nEXT. SEA\n").rows
    assert [row.shot.description for row in rows if row.shot][-1] == "EXT. SEA"


def test_the_name_of_who_speaks_may_have_remarks(tmp_path: Path) -> None:
    cues = ("ANNA", "@anna", "ANNA (O.S.) (softly)", "ANNA ^", "HAL 9000 (beeping) ^", "DR. WU")
    text = "INT. KITCHEN - DAY\n\n" + "".join(f"{cue}\nWind at last.\n\n" for cue in cues)
    (row,) = read(tmp_path / "cues.fountain", f"{text}Anna AND Bo\nwalk.\n").rows
    assert row.draft.prompt == "Anna AND Bo walk."
