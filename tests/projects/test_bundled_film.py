"""Cuts, their versions and what reviewers said go in a project's ZIP."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.films import FPS, adopt_take, make_shots, moving
from wan_pipeline.clips.encode import encode
from wan_pipeline.clips.receipt import load_receipt
from wan_pipeline.errors import ProjectError
from wan_pipeline.projects.bundles.notes import read_notes_json
from wan_pipeline.projects.cut.bundled import add_cuts, read_cuts_json
from wan_pipeline.projects.cut.cut import Title
from wan_pipeline.projects.cut.edits import titled
from wan_pipeline.projects.cut.files import CutFiles
from wan_pipeline.projects.cut.takes import clip_of_id
from wan_pipeline.projects.shots.shot import Verdict
from wan_pipeline.settings import Settings
from wan_pipeline.storage.locks import WorkspaceLocks
from wan_pipeline.studio import Studio

GUEST = "0badcafe"
CUT = {"cut": {"name": "main", "items": [{"clip": "one.mp4"}]}}


@pytest.fixture
def elsewhere(settings: Settings, tmp_path: Path) -> Settings:
    """The settings of another machine."""
    other = replace(settings, workspace=tmp_path / "other" / "workspace", loras=tmp_path / "other" / "loras")
    other.make_folders()
    return other


def write_clip(path: Path) -> None:
    """A clip of no job."""
    encode(moving(9), FPS, path, None)


def film(studio: Studio) -> list[str]:
    """A project with two takes, a cut of both with a title and a version, a guest's note and a verdict."""
    studio.projects.ensure("Film")
    takes = [adopt_take(studio, shot) for shot in make_shots(studio, "Film", 2)]
    paths = [clip.path for clip in studio.gallery.existing(takes)]
    studio.cuts.new("Film", "main")
    studio.cuts.add("Film", "main", paths, 1, 8)
    studio.cuts.save_version("Film", "main", "for the client")
    studio.cuts.change("Film", "main", lambda cut: titled(cut, 1, Title("The End")))
    studio.comments.add(takes[0], "darker, please", GUEST, 3, [[0.1, 0.2], [0.3, 0.4]])
    studio.comments.mark_done(studio.comments.of_clip(takes[0])[0].id, True)
    studio.reviews.decide(takes[1], Verdict.CHANGES, GUEST)
    return takes


def test_cuts_versions_and_notes_are_the_same_elsewhere(studio: Studio, elsewhere: Settings, tmp_path: Path) -> None:
    takes = film(studio)
    target = studio.bundles.write("Film", tmp_path / "film.zip", with_clips=True)
    with Studio(elsewhere) as other:
        assert other.bundles.read(target).notes == ()
        cut = other.cuts.existing("Film")
        assert cut == studio.cuts.existing("Film")
        assert [piece.problem for piece in other.cuts.look(cut).pieces] == ["", ""]
        assert other.cuts.versions("Film") == studio.cuts.versions("Film") != []
        (note,), (before,) = other.comments.of_clip(takes[0]), studio.comments.of_clip(takes[0])
        assert replace(note, id=0) == replace(before, id=0)
        assert [take.verdict for shot in other.shots.all("Film") for take in shot.done] == [None, Verdict.CHANGES]


def test_without_its_clips_the_cut_is_whole_and_names_no_other_ones(
    studio: Studio, elsewhere: Settings, tmp_path: Path
) -> None:
    takes = film(studio)
    studio.cuts.new("Film", "own")
    outside = tmp_path / "outside.mp4"
    outside.write_bytes((studio.settings.clips / f"{takes[0]}.mp4").read_bytes())
    studio.cuts.add("Film", "own", [outside])
    target = studio.bundles.write("Film", tmp_path / "film.zip")
    with zipfile.ZipFile(target) as archive:
        assert str(tmp_path) not in archive.read("cuts.json").decode()
    with Studio(elsewhere) as other:
        (elsewhere.clips / f"{takes[0]}.mp4").write_bytes(b"another clip of that name")
        taken = other.bundles.read(target)
        said, *absent = taken.notes
        assert said == "What was said of 2 clips is left out, for no such clip of the project is here."
        assert len(absent) == 3 and all("not here" in note for note in absent)
        cut = other.cuts.existing("Film")
        assert [item.clip for item in cut.items] == [f"{takes[0]} {takes[0]}.mp4", f"{takes[1]}.mp4"]
        assert all("put it back" in piece.problem for piece in other.cuts.look(cut).pieces)
        assert [item.clip for item in other.cuts.existing("Film", "own").items] == ["outside.mp4"]
        assert other.comments.of_clip(takes[0]) == []


def test_what_cannot_be_read_is_left_out_and_told(studio: Studio, elsewhere: Settings, tmp_path: Path) -> None:
    film(studio)
    cuts = studio.projects.path("Film").parent / "cuts"
    for name in ("bad.json", "._main.json", "versions/main/0002.json", "versions/main/._0001.json"):
        (cuts / name).write_text("{")
    told = list[str]()
    target = studio.bundles.write("Film", tmp_path / "film.zip", with_clips=True, tell=told.append)
    bad, version = told
    assert "bad.json cannot be read" in bad and bad.endswith("It is left out of the bundle, and its versions too.")
    assert "0002.json cannot be read" in version and version.endswith("It is left out of the bundle.")
    with Studio(elsewhere) as other:
        assert other.bundles.read(target).notes == ()
        assert other.cuts.names("Film") == ["main"]
        assert [version.number for version in other.cuts.versions("Film")] == [1]


def test_cuts_are_read_while_nobody_else_changes_them(
    studio: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    film(studio)
    monkeypatch.setattr("wan_pipeline.storage.locks.CUTS_SECONDS", 0.0)
    with (
        WorkspaceLocks(studio.settings.workspace).cuts("Film"),
        pytest.raises(ProjectError, match="Another program is changing the cuts of 'Film'"),
    ):
        studio.bundles.write("Film", tmp_path / "film.zip")
    assert not (tmp_path / "film.zip").exists()


def test_clips_of_one_name_are_as_many_clips_elsewhere(studio: Studio, elsewhere: Settings, tmp_path: Path) -> None:
    studio.projects.ensure("Film")
    takes = [adopt_take(studio, shot) for shot in make_shots(studio, "Film", 3)]
    made = [clip.path for clip in studio.gallery.existing(takes)]
    own = studio.settings.clips / "take.mp4"
    one, two, bare = (tmp_path / folder / "take.mp4" for folder in "abc")
    for path, source in ((own, made[0]), (one, made[1]), (two, made[2])):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(source.read_bytes())
    bare.parent.mkdir()
    write_clip(bare)
    studio.cuts.new("Film", "main")
    studio.cuts.add("Film", "main", [one, bare, own, two])
    target = studio.bundles.write("Film", tmp_path / "film.zip", with_clips=True)
    with Studio(elsewhere) as other:
        taken = other.bundles.read(target)
        items = other.cuts.existing("Film").items
        found = [load_receipt(other.settings.clips / items[n].clip).job for n in (0, 2, 3)]
        assert found == [takes[1], takes[0], takes[2]]
        assert taken.notes == ("Clip of a cut that is not here: take 3.mp4",)
        assert items[1].clip == "take 3.mp4"


def test_a_clip_without_an_id_is_no_other_clip_of_its_name(studio: Studio) -> None:
    studio.projects.ensure("Film")
    (shot,) = make_shots(studio, "Film", 1)
    made = f"{adopt_take(studio, shot)}.mp4"
    write_clip(studio.settings.clips / "bare.mp4")
    content = {"cuts": [{"cut": {"name": "main", "items": [{"clip": made}, {"clip": "bare.mp4"}]}}]}
    files = CutFiles(studio.projects.path("Film").parent)
    absent = add_cuts(read_cuts_json(json.dumps(content).encode()), files, studio.settings.clips, lambda id: None)
    assert absent == (made,)
    cut = files.find("main")
    assert cut and [item.clip for item in cut.items] == [made.replace(".mp4", " elsewhere.mp4"), "bare.mp4"]


def test_a_clip_is_found_by_its_whole_id(studio: Studio) -> None:
    one, two = film(studio)
    found = clip_of_id(studio.gallery, one)
    assert found and load_receipt(found).job == one
    assert clip_of_id(studio.gallery, one[:8]) is None
    studio.gallery.bin([two])
    assert clip_of_id(studio.gallery, two) is None, "it is in the bin"


def test_notes_that_are_here_already_are_not_doubled(studio: Studio) -> None:
    takes = film(studio)
    notes = studio.bundles._bundled_notes.of(takes)
    studio.bundles._bundled_notes.add(notes, set(takes))
    assert studio.bundles._bundled_notes.of(takes) == notes and len(notes) == 2


@pytest.mark.parametrize(
    "name", ["/etc/one.mp4", "C:\\films\\one.mp4", "../one.mp4", "a/../../one.mp4", "\\\\x\\y\\one.mp4"]
)
def test_a_bundled_cut_names_no_file_of_this_computer(name: str) -> None:
    content = {"cuts": [{"cut": {"name": "main", "items": [{"clip": name}]}}]}
    (each,) = read_cuts_json(json.dumps(content).encode()).cuts
    assert [item.clip for item in each.cut.items] == ["one.mp4"]


@pytest.mark.parametrize("name", ["../main", "a/b", ""])
def test_a_cut_of_no_possible_name_is_refused(name: str) -> None:
    with pytest.raises(ProjectError, match="cannot be the name of a cut"):
        read_cuts_json(json.dumps({"cuts": [{"cut": {**CUT["cut"], "name": name}}]}).encode())


@pytest.mark.parametrize("wrong", [{"text": ""}, {"text": "x" * 1001}, {"frame": -1}, {"at": "x"}, {"mark": [[2, 0]]}])
def test_notes_that_cannot_be_are_refused_in_a_sentence(wrong: dict[str, object]) -> None:
    comment = {"key": GUEST, "at": "2026-01-02T03:04:05+00:00", "text": "darker", **wrong}
    with pytest.raises(ProjectError, match=r"notes\.json cannot be read"):
        read_notes_json(json.dumps([{"clip": "a", "comments": [comment]}]).encode())
