"""Scenes, shots and takes in the database, and the clips that are made of them."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.studios import QUICK
from wan_pipeline.errors import ProjectError, RequestError, UserError
from wan_pipeline.jobs.worker.worker import Worker
from wan_pipeline.projects.project import FinalProfile, Profile, Project
from wan_pipeline.projects.shots.settings import to_json
from wan_pipeline.projects.shots.shot import NewShot, Shot, ShotStatus
from wan_pipeline.projects.shots.store import take_of
from wan_pipeline.requests.layers import Setup
from wan_pipeline.requests.request import Draft
from wan_pipeline.settings import Settings
from wan_pipeline.studio import Studio

SMALL = Setup(width=160, height=160, num_frames=5, num_inference_steps=2)
FILM = Project("Film", "Film", SMALL, Profile(num_inference_steps=1), naming="{project}/{scene}/{shot}_{take:03}")


@pytest.fixture
def film(studio: Studio) -> Studio:
    studio.projects.create(FILM)
    return studio


def add(studio: Studio, *shots: NewShot, project: str = "Film") -> list[Shot]:
    return studio.shots.ensure(project, shots)


def make(studio: Studio, *shots: Shot, given: Draft | None = None) -> list[str]:
    ids = studio.takes.queue(studio.takes.of_shots(shots, given))
    Worker(studio.settings).run()
    return ids


def test_takes_of_a_shot_are_numbered_named_and_rendered_by_the_draft_profile(film: Studio, settings: Settings) -> None:
    (shot,) = add(film, NewShot("010", "12", "a red ball"))
    assert shot.status is ShotStatus.OPEN
    make(film, shot)
    make(film, shot, given=Draft(seed=7, guidance_scale=2.0))
    shot = film.shots.existing("010", "Film")
    assert [take.number for take in shot.done] == [1, 2] and shot.status is ShotStatus.DRAFT
    assert [take.clip for take in shot.takes] == [
        settings.clips / "Film" / "12" / f"010_{n}.mp4" for n in ("001", "002")
    ]
    first, second = (film.jobs.existing(take.id).request for take in shot.takes)
    assert (first.prompt, first.num_inference_steps, first.layers["num_inference_steps"]) == (
        "a red ball",
        1,
        "project",
    )
    assert (second.seed, second.guidance_scale, shot.takes[1].seed) == (7, 2.0, 7)


def test_a_take_that_is_queued_again_is_one_more_take(film: Studio) -> None:
    (shot,) = add(film, NewShot("010", "12", "a red ball"))
    (first,) = make(film, shot)
    again = film.jobs.existing(film.queue_again(first))
    assert (again.request, again.clip_name) == (film.jobs.existing(first).request, "Film/12/010_002")
    assert [take.number for take in film.shots.existing("010", "Film").takes] == [1, 2]


def test_a_picked_final_needs_no_final(film: Studio) -> None:
    film.projects.save(replace(FILM, final=FinalProfile(num_inference_steps=3)))
    (shot,) = add(film, NewShot("010", "", "a red ball"))
    make(film, shot)
    film.shots.pick([take_of(film.shots.existing("010"), 1)])
    film.takes.queue(film.finals.of(film.finals.picked("Film")))
    Worker(film.settings).run()
    film.shots.pick([take_of(film.shots.existing("010"), 2)])
    shot = film.shots.existing("010")
    assert (shot.status, shot.final_take) == (ShotStatus.FINAL, shot.takes[1])
    assert film.finals.picked("Film") == []


def test_a_shots_settings_are_a_layer_above_its_projects(film: Studio) -> None:
    settings = to_json(Draft(prompt="a blue fish", seed=9, fps=8, negative_prompt="rain"), film.requests.pictures)
    (shot,) = add(film, NewShot("010", settings=settings, description="underwater"))
    request = film.takes.of_shots([shot]).requests[0]
    assert (request.prompt, request.fps, request.layers["fps"], request.negative_prompt) == (
        "a blue fish",
        8,
        "shot",
        "rain",
    )
    given = film.takes.of_shots([shot], Draft(fps=24, seed=3)).requests[0]
    assert (given.fps, given.layers["fps"], given.seed) == (24, "form", 3)
    assert request.seed != 9, "a shot has no seed of its own, for its takes differ"


def test_pick_and_reject_decide_the_status(film: Studio) -> None:
    (shot,) = add(film, NewShot("010", "", "a red ball"))
    make(film, shot, shot)
    shot = film.shots.existing("010")
    film.shots.pick([take_of(shot, 1)])
    shot = film.shots.existing("010")
    assert shot.status is ShotStatus.PICKED and shot.picked_take and shot.picked_take.number == 1
    film.shots.reject([take_of(shot, 1)])
    shot = film.shots.existing("010")
    assert shot.status is ShotStatus.DRAFT and shot.takes[0].is_rejected and shot.newest_draft == shot.takes[1]
    film.shots.pick([take_of(shot, 1)])
    assert not film.shots.existing("010").takes[0].is_rejected
    film.gallery.bin([shot.takes[0].id])
    shot = film.shots.existing("010")
    assert [take.number for take in shot.takes] == [2] and shot.picked_take is None, "a clip in the bin is not picked"
    film.gallery.unbin([film.shots.existing("010").picked])
    assert film.shots.existing("010").status is ShotStatus.PICKED


def test_a_take_that_waits_or_is_missing_cannot_be_picked(film: Studio) -> None:
    (shot,) = add(film, NewShot("010", "", "a red ball"))
    film.takes.queue(film.takes.of_shots([shot]))
    shot = film.shots.existing("010")
    with pytest.raises(UserError, match="Take 1 of shot 010 is queued; choose one that is finished"):
        take_of(shot, 1)
    with pytest.raises(UserError, match="Shot 010 has no take 5; its takes are: 1"):
        take_of(shot, 5)


def test_a_list_makes_shots_and_their_first_takes(film: Studio, tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text("scene,shot,take,description,seed\n1,010,,a red ball,5\n1,020,3,a blue fish,6\n1,010,,a kite,7\n")
    with film.lists.read(path, project="Film") as content:
        ids = film.lists.submit(content, project="Film")
    first, second = film.shots.all("Film")
    assert [(take.number, take.id, take.seed) for take in first.takes] == [(1, ids[0], 5), (2, ids[2], 7)]
    assert [(take.number, take.id) for take in second.takes] == [(3, ids[1])]
    assert (first.description, film.jobs.existing(ids[2]).request.prompt) == ("a red ball", "a kite")
    with film.lists.read(path, project="Film") as content, pytest.raises(UserError, match="a take 3 of that shot"):
        film.lists.submit(content, project="Film")
    assert len(film.jobs.jobs()) == 3, "all or none"
    exported = film.lists.export()
    film.queue.cancel_all()
    with film.lists.read(exported) as content:
        film.lists.submit(content)
    assert [len(shot.takes) for shot in film.shots.all("Film")] == [2, 1], "an exported queue keeps its shots"


def test_an_address_that_several_shots_have_is_refused_with_the_way_out(film: Studio) -> None:
    add(film, NewShot("010", "1"), NewShot("010", "2"))
    assert film.shots.existing("2/010", "Film").scene == "2"
    with pytest.raises(ProjectError, match="There are 2 shots '010': 1/010 of Film, 2/010 of Film; write SCENE/SHOT"):
        film.shots.find("010")
    with pytest.raises(ProjectError, match="There is no shot '030' in the project 'Film'; it has 1/010, 2/010"):
        film.shots.existing("030", "Film")
    with pytest.raises(RequestError, match="The scene 'a/b' is no id"):
        add(film, NewShot("010", "a/b"))


def test_shots_are_moved_renumbered_and_removed(film: Studio) -> None:
    one, two, three = add(film, NewShot("010"), NewShot("020"), NewShot("030"))
    film.shots.move(three.number, before=one.number)
    film.shots.move(one.number, before=None)
    assert [shot.shot for shot in film.shots.all("Film")] == ["030", "020", "010"]
    with pytest.raises(ProjectError, match="There is a shot '020' in that scene already"):
        film.shots.edit(one.number, NewShot("020"))
    assert film.shots.edit(one.number, NewShot("015", "2", "a boat")).address == "2/015"
    film.shots.remove([two.number])
    assert [shot.address for shot in film.shots.all()] == ["030", "2/015"]


def test_a_list_of_shots_is_updated_by_a_newer_one(film: Studio) -> None:
    add(film, NewShot("010", description="a ball", notes="day"))
    (shot,) = film.shots.ensure("Film", [NewShot("010", description="a kite")], update=True)
    assert (shot.description, shot.notes) == ("a kite", "day")
    (shot,) = film.shots.ensure("Film", [NewShot("010", description="a boat")])
    assert shot.description == "a kite"


def test_a_clip_is_made_again_as_a_take_of_its_shot(film: Studio) -> None:
    (shot,) = add(film, NewShot("010", "", "a red ball"))
    (job_id,) = make(film, shot)
    clip = film.gallery.clip(job_id)
    prepared = film.takes.again(clip, Draft(guidance_scale=2.0))
    again, first = prepared.requests[0], clip.request
    assert again.seed != first.seed
    assert replace(again, seed=first.seed, guidance_scale=first.guidance_scale) == first
    film.takes.queue(prepared)
    assert [take.number for take in film.shots.existing("010").takes] == [1, 2]


def test_an_edited_take_keeps_its_number_and_shot_in_its_name(film: Studio) -> None:
    (shot,) = add(film, NewShot("010", "12", "a red ball"))
    _, second = film.takes.queue(film.takes.of_shots([shot, shot]))
    film.edit(second, replace(QUICK, prompt="a blue ball"))
    assert film.jobs.existing(second).clip_name == "Film/12/010_002"


@pytest.mark.soak
def test_a_thousand_shots_with_takes_are_read_at_once(film: Studio) -> None:
    shots = add(film, *(NewShot(f"{number:04}", "1", "a red ball") for number in range(1, 1001)))
    film.takes.queue(film.takes.of_shots(shots[:200]))
    started = time.monotonic()
    read = film.shots.all("Film")
    assert (len(read), sum(len(shot.takes) for shot in read)) == (1000, 200)
    assert time.monotonic() - started < 2.0
