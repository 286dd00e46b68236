"""A shot that is renumbered takes its clips' names along; shots go from one workspace to another."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from tests.projects.test_bundle import bundle
from tests.projects.test_shots import FILM, add
from tests.support import adapters
from tests.support.films import adopt_take
from wan_pipeline.clips.files import rename_files
from wan_pipeline.clips.naming import receipt_path
from wan_pipeline.errors import UserError
from wan_pipeline.projects.bundles.bundle import Need, NeedKind, read_manifest
from wan_pipeline.projects.cut.cut import CutItem
from wan_pipeline.projects.shots.shot import NewShot, Shot, ShotStatus
from wan_pipeline.requests.request import Draft
from wan_pipeline.settings import Settings
from wan_pipeline.studio import Studio


@pytest.fixture
def film(studio: Studio) -> Studio:
    studio.projects.create(FILM)
    return studio


def made(studio: Studio, shot: Shot, name: str) -> str:
    """A finished take under a name of the project's template. Returns its id."""
    clip = adopt_take(studio, shot)
    rename_files(f"{clip}.mp4", f"{name}.mp4", studio.settings.clips)
    studio.gallery.rescan()
    return clip


def test_clips_waiting_takes_and_cuts_follow(film: Studio, settings: Settings) -> None:
    (shot,) = add(film, NewShot("010", "1", "a red ball"))
    clip = made(film, shot, "Film/1/010_001")
    (waiting,) = film.takes.queue(film.takes.of_shots([film.shots.existing("010")]))
    assert film.jobs.existing(waiting).clip_name == "Film/1/010_002"
    film.cuts.new("Film")
    film.cuts.add("Film", "main", [settings.clips / "Film/1/010_001.mp4"])
    film.cuts.save_version("Film", "main")
    done = film.renumbering.edit(shot.number, NewShot("012", "2", "a red ball"))
    assert (done.renamed, done.notes, done.shot.address) == (1, (), "2/012")
    new = settings.clips / "Film" / "2" / "012_001.mp4"
    assert film.gallery.clip(clip).path == new and new.is_file() and receipt_path(new).is_file()
    assert film.gallery.clip(clip).poster.is_file() and film.jobs.existing(clip).clip == new
    assert not (settings.clips / "Film" / "1").exists()
    assert film.jobs.existing(waiting).clip_name == "Film/2/012_002"
    assert film.cuts.existing("Film", "main").items == (CutItem("Film/2/012_001.mp4"),)
    assert film.cuts.versions("Film")[0].cut == film.cuts.existing("Film")
    assert film.gallery.rescan() == 0


def test_cuts_of_other_projects_follow_too(film: Studio, settings: Settings) -> None:
    (shot,) = add(film, NewShot("010", "1", "a red ball"))
    made(film, shot, "Film/1/010_001")
    for project in ("Trailer", "Broken"):
        film.projects.ensure(project)
    for project in ("Trailer", "Broken", ""):
        film.cuts.new(project)
        film.cuts.add(project, "main", [settings.clips / "Film/1/010_001.mp4"])
        film.cuts.save_version(project, "main")
    path = film.projects.path("Broken")
    path.write_text("fps = [", "utf-8")
    done = film.renumbering.edit(shot.number, NewShot("012", "2", "a red ball"))
    assert (done.renamed, done.notes) == (1, ())
    path.unlink()
    film.projects.ensure("Broken")
    for project in ("Trailer", "Broken", ""):
        assert film.cuts.existing(project).items == (CutItem("Film/2/012_001.mp4"),), project
        assert film.cuts.versions(project)[0].cut == film.cuts.existing(project)


def test_a_name_given_by_hand_stays_and_a_taken_one_is_passed_over(film: Studio, settings: Settings) -> None:
    (shot,) = add(film, NewShot("010", "1", "a red ball"))
    own = made(film, shot, "Film/1/the good one")
    other = made(film, shot, "Film/1/010_002")
    (settings.clips / "Film/1/020_002.mp4").write_bytes(b"somebody's")
    done = film.renumbering.edit(shot.number, NewShot("020", "1", "a red ball"))
    assert done.renamed == 1 and "1 clip not renamed" in done.notes[0]
    assert film.gallery.clip(own).path.stem == "the good one"
    assert film.gallery.clip(other).path.stem == "020_003", "the next free name"


def test_a_name_that_a_job_or_a_lost_clip_has_is_passed_over(film: Studio, settings: Settings) -> None:
    removed, shot, other = add(film, NewShot("012", "1", "a kite"), NewShot("010", "1", "a ball"), NewShot("030", "1"))
    (waiting,) = film.takes.queue(film.takes.of_shots([removed]))
    film.shots.remove([removed.number])
    made(film, other, "Film/1/012_002")
    (settings.clips / "Film/1/012_002.mp4").unlink()
    clip = made(film, shot, "Film/1/010_001")
    assert film.renumbering.edit(shot.number, NewShot("012", "1", "a ball")).renamed == 1
    assert film.jobs.existing(waiting).clip_name == "Film/1/012_001", "the name is its own before there is a file"
    assert film.gallery.clip(clip).path.stem == film.jobs.existing(clip).clip_name[-7:] == "012_003"


def test_a_name_that_tells_no_scene_stays_with_another_scene(film: Studio) -> None:
    film.projects.save(replace(FILM, naming="{shot}_{take:03}"))
    (shot,) = add(film, NewShot("010", "1", "a red ball"))
    clip = made(film, shot, "010_001")
    done = film.renumbering.edit(shot.number, NewShot("010", "2", "a red ball"))
    assert (done.renamed, done.notes, done.shot.address) == (0, (), "2/010")
    assert film.gallery.clip(clip).path.stem == "010_001"


def test_clips_of_a_template_without_take_are_renamed(film: Studio) -> None:
    film.projects.save(replace(FILM, naming="{scene}_{shot}"))
    (shot,) = add(film, NewShot("010", "1", "a red ball"))
    clips = [made(film, shot, name) for name in ("1_010", "1_010_2")]
    assert film.renumbering.edit(shot.number, NewShot("012", "1", "a red ball")).renamed == 2
    assert [film.gallery.clip(clip).path.stem for clip in clips] == ["1_012", "1_012_2"]


def test_what_broke_off_is_completed_and_a_damaged_cut_is_told(film: Studio, settings: Settings) -> None:
    (shot,) = add(film, NewShot("010", "1", "a red ball"))
    first, second = made(film, shot, "Film/1/010_001"), made(film, shot, "Film/1/010_002")
    film.cuts.new("Film")
    film.cuts.add("Film", "main", [settings.clips / f"Film/1/010_00{n}.mp4" for n in (1, 2)])
    (settings.projects / "Film" / "cuts" / "broken.json").write_text("{")
    rename_files("Film/1/010_001.mp4", "Film/1/012_001.mp4", settings.clips)  # before it broke off
    done = film.renumbering.edit(shot.number, NewShot("012", "1", "a red ball"))
    assert (done.renamed, done.shot.address, len(done.notes)) == (1, "1/012", 1) and "broken.json" in done.notes[0]
    assert [film.gallery.clip(clip).path.stem for clip in (first, second)] == ["012_001", "012_002"]
    assert film.jobs.existing(first).clip == film.gallery.clip(first).path
    items = film.cuts.existing("Film", "main").items
    assert items == (CutItem("Film/1/012_001.mp4"), CutItem("Film/1/012_002.mp4"))


def test_shots_takes_and_picks_go_along(film: Studio, settings: Settings, tmp_path: Path) -> None:
    first, _ = add(film, NewShot("020", "1", "a red ball", "call"), NewShot("010", "1", "a kite"))
    clip = made(film, first, "Film/1/020_001")
    adopt_take(film, first, final_of=clip)
    film.gallery.rate(clip, 4)
    film.shots.pick([take for take in film.shots.of_number(first.number).done if take.id == clip])
    film.shots.ensure("Film", [NewShot("030", settings='{"control-video": "/etc/hosts", "steps": 3}')])
    target = film.bundles.write("Film", tmp_path / "film.zip", with_clips=True)
    assert b"/etc/hosts" not in zipfile.ZipFile(target).read("shots.json")
    other = replace(settings, workspace=tmp_path / "other")
    other.make_folders()
    with Studio(other) as elsewhere:
        elsewhere.bundles.read(target)
        shots = elsewhere.shots.all("Film")
        assert [shot.address for shot in shots] == ["1/020", "1/010", "030"] and shots[0].notes == "call"
        assert shots[0].status is ShotStatus.FINAL and shots[0].picked == clip
        assert [(take.number, take.rating) for take in shots[0].takes] == [(1, 4), (2, 0)]
        assert elsewhere.takes.settings_of(shots[2]) == Draft(num_inference_steps=3)


def test_an_import_whose_shots_failed_is_done_again(
    film: Studio, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (shot,) = add(film, NewShot("010", "1", "a red ball"))
    clip = made(film, shot, "Film/1/010_001")
    film.shots.pick(film.shots.of_number(shot.number).done)
    target = film.bundles.write("Film", tmp_path / "film.zip", with_clips=True)
    other = replace(settings, workspace=tmp_path / "other")
    other.make_folders()
    with Studio(other) as elsewhere:
        with monkeypatch.context() as full, pytest.raises(UserError, match="at most 0"):
            full.setattr("wan_pipeline.projects.shots.store.MAX_SHOTS", 0)
            elsewhere.bundles.read(target)
        assert elsewhere.projects.find("Film") is None
        elsewhere.bundles.read(target)
        assert [each.picked for each in elsewhere.shots.all("Film")] == [clip]


def test_what_only_a_shot_uses_is_needed(film: Studio, settings: Settings, tmp_path: Path) -> None:
    path = adapters.write(settings.loras / "glow.safetensors")
    film.shots.ensure("Film", [NewShot("010", settings='{"lora": ["glow=0.5"], "model": "demo", "preset": "noir"}')])
    target = film.bundles.write("Film", tmp_path / "film.zip", with_loras=True)
    with zipfile.ZipFile(target) as archive:
        assert "loras/glow.safetensors" in archive.namelist()
        needs = read_manifest(archive).needs
    glow = Need(NeedKind.LORA, "glow", film.lora_catalog.sha256(path))
    assert needs == (Need(NeedKind.MODEL, "demo"), Need(NeedKind.PRESET, "noir"), glow)


@pytest.mark.parametrize(
    ("shots", "told"),
    [
        ('[{"shot": "../x"}]', "is no id"),
        ('[{"shot": "010", "settings": {"steps": "many"}}]', "not a whole number"),
        ('{"shot": 1}', "cannot be read"),
    ],
)
def test_shots_with_a_fault_bring_in_nothing(studio: Studio, tmp_path: Path, shots: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        studio.bundles.read(bundle(tmp_path / "bad.zip", **{"shots.json": shots}))
    assert studio.projects.find("Film") is None and studio.shots.all() == []
