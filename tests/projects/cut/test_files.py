"""The files of a project's cuts and versions, and the lock on them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from wan_pipeline.errors import ProjectError
from wan_pipeline.projects.cut.cut import Cut, CutItem
from wan_pipeline.projects.cut.cuts import ClipsOf, Cuts
from wan_pipeline.projects.cut.files import CutFiles
from wan_pipeline.projects.project import Project
from wan_pipeline.projects.store import Projects
from wan_pipeline.settings import Settings

CUT = Cut("main", "24", (CutItem("1/010_001.mp4"), CutItem("1/020_001.mp4", 2)))


@pytest.fixture
def files(tmp_path: Path) -> CutFiles:
    made = CutFiles(tmp_path)
    made.save(CUT)
    return made


def test_a_version_of_a_newer_program_is_not_overwritten(files: CutFiles, tmp_path: Path) -> None:
    files.save_version(CUT, "one")
    newer = tmp_path / "cuts" / "versions" / "main" / "0002.json"
    newer.write_text('{"number": 2, "colour": "warm"}')
    assert files.save_version(CUT, "three").number == 3
    assert "warm" in newer.read_text()
    assert [version.number for version in files.versions("main")] == [1, 3]


def test_a_copied_file_is_a_cut_of_its_own(files: CutFiles, tmp_path: Path) -> None:
    (tmp_path / "cuts" / "copy.json").write_bytes((tmp_path / "cuts" / "main.json").read_bytes())
    copy = files.find("copy")
    assert copy == replace(CUT, name="copy")
    files.save(copy.with_items(()))
    assert files.find("main") == CUT


@pytest.mark.parametrize(("there", "asked"), [("Main", "main"), ("Café", "Cafe\u0301")])
def test_names_that_are_one_file_on_another_system_are_one(tmp_path: Path, there: str, asked: str) -> None:
    files = CutFiles(tmp_path)
    files.save(Cut(there))
    assert files.same_name(asked) == there and files.same_name("other") == ""


def test_renamed_clips_have_their_new_names_in_cuts_and_versions(files: CutFiles, tmp_path: Path) -> None:
    files.save_version(CUT, "one")
    files.save(Cut("other"))
    broken = tmp_path / "cuts" / "versions" / "gone" / "0001.json"
    broken.parent.mkdir()
    broken.write_text("{")
    (note,) = files.rename_clips({"1/010_001.mp4": "2/012_001.mp4", "1/099_001.mp4": "x.mp4"})
    assert "0001.json cannot be read" in note and broken.read_text() == "{"
    items = (CutItem("2/012_001.mp4"), CutItem("1/020_001.mp4", 2))
    assert files.find("main") == replace(CUT, items=items) == files.version("main", 1).cut


@pytest.fixture
def opened(tmp_path: Path) -> Callable[[], Cuts]:
    """Opens the cuts of one workspace, as each process does."""
    settings = Settings(tmp_path / "workspace")
    settings.make_folders()
    Projects(settings.projects).create(Project("Film", "Film"))
    no_clips = ClipsOf(lambda _: [], lambda _: [], lambda _: None, lambda _: None, lambda _: {}, lambda _: [])
    return lambda: Cuts(settings, Projects(settings.projects), no_clips)


def test_another_process_changes_no_cut_that_is_being_changed(
    opened: Callable[[], Cuts], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wan_pipeline.storage.locks.CUTS_SECONDS", 0.0)
    ours, theirs = opened(), opened()
    ours.new("Film")
    with ours.locked("Film"):
        assert ours.change("film", "main", lambda cut: replace(cut, rate="25")).rate == "25", "held by this thread"
        for edit in (
            lambda: theirs.change("Film", "main", lambda cut: cut),
            lambda: theirs.save_version("Film", "main"),
            lambda: theirs.rename_clips({"a.mp4": "b.mp4"}),
            lambda: theirs.new("Film", "other"),
        ):
            with pytest.raises(ProjectError, match="Another program is changing the cuts of 'Film'"):
                edit()
    assert theirs.change("Film", "main", lambda cut: replace(cut, rate="30")).rate == "30"
