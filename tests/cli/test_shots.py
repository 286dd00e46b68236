"""`shots` and `take`, as a script runs them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import MODEL, make_folders, wan

SIZE = ["--model", MODEL, "--width", "160", "--height", "128", "--frames", "5", "--steps", "2"]


@pytest.fixture
def folders(tmp_path: Path, tiny_demo: Path) -> list[str]:
    return make_folders(tmp_path, tiny_demo)


def told(folders: list[str], *arguments: str | Path) -> Any:
    """The object in the last line of stdout."""
    result = wan(*folders, *arguments, "--json")
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


def refused(folders: list[str], *arguments: str | Path) -> str:
    result = wan(*folders, *arguments)
    assert (result.returncode, result.stdout) == (2, ""), result
    return result.stderr


@pytest.mark.soak
def test_a_shot_list_becomes_takes_that_are_picked(folders: list[str], tmp_path: Path) -> None:
    wan(*folders, "projects", "create", "Film", *SIZE, "--naming", "{project}/{scene}_{shot}_{take:03}")
    (tmp_path / "list.csv").write_text("scene,shot,description\n1,010,a red ball\n1,020,a blue fish\n")
    added = told(folders, "shots", "add", "--file", tmp_path / "list.csv", "--project", "Film")
    assert (added["project"], added["count"]) == ("Film", 2)
    told(folders, "shots", "add", "030", "--scene", "2", "--description", "a kite", "--project", "film")
    listed = told(folders, "shots", "list", "--project", "Film")
    assert [(shot["scene"], shot["shot"], shot["status"]) for shot in listed["shots"]] == [
        ("1", "010", "open"),
        ("1", "020", "open"),
        ("2", "030", "open"),
    ]
    assert refused(folders, "shots", "pick", "--project", "Film") == (
        "error: No shot has a finished take to pick; make some by `take SHOT`, then pick again.\n"
    )
    first = told(folders, "take", "010", "--project", "Film", "--seed", "4")
    assert (first["scene"], first["shot"], first["take"], first["seed"]) == ("1", "010", 1, 4)
    told(folders, "take", "1/010", "--project", "Film", "--guidance", "2")
    assert wan(*folders, "queue", "work").returncode == 0
    again = told(folders, "take", tmp_path / "workspace" / "clips" / "Film" / "1_010_001.mp4")
    assert (again["shot"], again["take"], again["request"]["prompt"]) == ("010", 3, "a red ball")
    assert told(folders, "take", first["id"][:8])["take"] == 4
    picked = told(folders, "shots", "pick", "--project", "Film")
    assert [(shot["shot"], shot["picked"], shot["status"]) for shot in picked["shots"]] == [
        ("010", 2, "picked"),
        ("020", None, "open"),
        ("030", None, "open"),
    ]
    (shot,) = told(folders, "shots", "pick", "010", "--take", "1", "--project", "Film")["shots"]
    assert (shot["picked"], shot["takes"][0]["rejected"]) == (1, False)
    (shot,) = told(folders, "shots", "reject", "010", "--take", "1", "--project", "Film")["shots"]
    assert (shot["picked"], shot["status"], shot["takes"][0]["rejected"]) == (None, "draft", True)
    assert "has no finished take" in refused(folders, "shots", "pick", "020", "--project", "Film")
    assert "There is no shot '040'" in refused(folders, "shots", "reject", "040", "--project", "Film")
    assert "is no shot of the project 'default' and no clip" in refused(folders, "take", "nothing")


def test_shots_of_no_project_are_of_the_default_one(folders: list[str]) -> None:
    added = told(folders, "shots", "add", "010", *SIZE, "--prompt", "a red ball")
    assert (added["project"], added["shots"][0]["shot"]) == ("default", "010")
    report = told(folders, "take", "010")
    assert (report["project"], report["take"], report["request"]["width"]) == ("", 1, 160)
    lines = wan(*folders, "shots", "list").stdout.splitlines()
    assert lines == ["010           open      1 take"]


@pytest.mark.soak
def test_a_sheet_of_a_clip_that_was_made_without_the_queue(folders: list[str], tmp_path: Path) -> None:
    clip = told(folders, "generate", *SIZE, "--prompt", "a red ball")["clip"]
    made = told(folders, "contact-sheet", clip, "--output", tmp_path / "sheet.png")
    assert Path(made["path"]) == tmp_path / "sheet.png" and (tmp_path / "sheet.png").stat().st_size > 1000
    assert "no clip of" in refused(folders, "contact-sheet", tmp_path / "gone.mp4", "--output", tmp_path / "b.png")
