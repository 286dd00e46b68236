"""Clips that go to another project and come back."""

from __future__ import annotations

import pytest

from tests.support.films import adopt_take, make_shots
from wan_pipeline.clips.receipt import receipt_beside
from wan_pipeline.errors import ReceiptError
from wan_pipeline.projects.project import Project
from wan_pipeline.studio import Studio


@pytest.fixture
def takes(studio: Studio) -> list[str]:
    """Two takes of a shot of the project Film, the second one picked."""
    for name in ("Film", "Other"):
        studio.projects.create(Project(name, name))
    (shot,) = make_shots(studio, "Film", 1)
    takes = [adopt_take(studio, shot) for _ in range(2)]
    studio.shots.pick(studio.shots.all("Film")[0].takes[1:])
    return takes


def projects(studio: Studio, takes: list[str]) -> list[str]:
    clips = studio.gallery.existing(takes)
    assert [clip.project for clip in clips] == [receipt_beside(clip.path).project for clip in clips]
    return [clip.project for clip in clips]


def test_what_was_moved_comes_back_as_the_takes_that_it_was(studio: Studio, takes: list[str]) -> None:
    before = studio.shots.all("Film")
    moved = studio.moves.move(takes, "Other")
    assert projects(studio, takes) == ["Other", "Other"] and not studio.shots.all("Film")[0].takes
    assert studio.moves.move(takes, "Other") == ()
    assert studio.moves.put_back(moved) == 2
    assert projects(studio, takes) == ["Film", "Film"] and studio.shots.all("Film") == before


def test_all_are_moved_or_none(studio: Studio, takes: list[str]) -> None:
    second = studio.gallery.clip(takes[1]).path
    second.with_suffix(".json").write_text("no receipt", encoding="utf-8")
    with pytest.raises(ReceiptError):
        studio.moves.move(takes, "Other")
    assert projects(studio, takes[:1]) == ["Film"] == [studio.gallery.clip(takes[1]).project]
    assert studio.shots.all("Film")[0].picked == takes[1]
