"""Names of clips by a template: safe on every system, without gaps, never one that is taken."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest

from wan_pipeline.projects.naming import ClipFacts, check_template, free_names, named, safe_name

TEMPLATE = "{project}/{scene}_{shot}_{take:03}_{seed}"
FACTS = ClipFacts(project="Client A", seed=42, take=7, model="demo", scene="INT. BAR", shot="010")


@pytest.mark.parametrize(
    ("template", "facts", "name"),
    [
        (TEMPLATE, FACTS, "Client A/INT. BAR_010_007_42"),
        (TEMPLATE, replace(FACTS, scene=""), "Client A/010_007_42"),
        (TEMPLATE, replace(FACTS, scene="", shot=""), "Client A/007_42"),
        ("{scene}_{seed}_{shot}", replace(FACTS, shot=""), "INT. BAR_42"),
        ("{scene}/{shot}", replace(FACTS, scene="", shot=""), "007_42"),
        ("{{x}}_{take}", FACTS, "{x}_7"),
        ("{project}", replace(FACTS, project="../..\\C:evil"), "C-evil"),
        ("{project}", replace(FACTS, project="con"), "con-"),
    ],
)
def test_a_name_has_no_gaps_and_no_way_out_of_its_folder(template: str, facts: ClipFacts, name: str) -> None:
    assert named(check_template(template), facts) == name


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("{client}", "there is no field {client}; use {project}, {scene}"),
        ("{seed", "braces do not match"),
        ("{take:>9}", "{take:>9} cannot be written; only take and seed have a width"),
        ("{prompt:04}", "{prompt:04} cannot be written"),
        ("{project.__class__}", "there is no field {project.__class__}"),
        ("x" * 201, "at most 200"),
    ],
)
def test_a_bad_template_says_why(template: str, says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)):
        check_template(template)


def test_names_that_clips_have_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "Client A").mkdir()
    (tmp_path / "Client A" / "INT. BAR_010_008_42.mp4").touch()
    assert list(islice(free_names(TEMPLATE, FACTS, tmp_path), 2)) == [
        "Client A/INT. BAR_010_007_42",
        "Client A/INT. BAR_010_009_42",
    ]
    (tmp_path / "42.mp4").touch()
    assert list(islice(free_names("{seed}", FACTS, tmp_path), 2)) == ["42_2", "42_3"]
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "42_2.mp4").touch()
    assert list(islice(free_names("{seed}", FACTS, tmp_path), 2)) == ["42_3", "42_4"]


def test_a_name_of_nothing_is_none() -> None:
    assert safe_name(" ../.. ") == ""
