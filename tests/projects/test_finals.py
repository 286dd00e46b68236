"""Finals of picked drafts, and grids over settings."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.projects.test_shots import FILM, add, make
from tests.support.films import adopt_take, with_profiles
from tests.support.requests import make_request
from tests.support.studios import QUICK
from wan_pipeline.errors import ProjectError, RequestError, UserError
from wan_pipeline.jobs.worker.worker import Worker
from wan_pipeline.projects.project import FinalProfile, Profile
from wan_pipeline.projects.shots.finals import can_keep_layout, composition_note, layout_of
from wan_pipeline.projects.shots.shot import NewShot, ShotStatus
from wan_pipeline.projects.shots.store import take_of
from wan_pipeline.requests.grids.variations import axis, prompts_of, variations
from wan_pipeline.requests.request import Draft
from wan_pipeline.requests.resolve import PENDING
from wan_pipeline.requests.sampling.step_cache import CacheKind
from wan_pipeline.studio import Studio

DRAFTED = with_profiles(FILM, draft_height=192, final_steps=3)


@pytest.fixture
def film(studio: Studio) -> Studio:
    studio.projects.create(DRAFTED)
    return studio


def test_a_final_keeps_what_was_chosen_and_takes_the_rest_from_the_profile(film: Studio) -> None:
    (shot,) = add(film, NewShot("010", "1", "a red ball"))
    make(film, shot, given=Draft(guidance_scale=2.0, seed=5))
    assert film.finals.picked("Film") == []
    film.shots.pick([take_of(film.shots.existing("010"), 1)])
    (clip,) = film.finals.picked("Film")
    prepared = film.finals.of([clip])
    (final,) = prepared.requests
    assert (clip.request.num_inference_steps, clip.request.height) == (1, 192)
    assert (final.num_inference_steps, final.height, final.seed, final.guidance_scale, final.prompt) == (
        *(3, 160, 5, 2.0, "a red ball"),
    )
    assert "160 x 160 and its draft 160 x 192" in composition_note(clip.request, final)
    film.takes.queue(prepared)
    assert film.finals.picked("Film") == [], "its final waits"
    Worker(film.settings).run()
    shot = film.shots.existing("010")
    assert shot.status is ShotStatus.FINAL and shot.final_take and shot.final_take.final_of == clip.id
    assert (shot.shown_take, shot.newest_draft) == (shot.takes[1], shot.takes[0])
    assert shot.final_take.clip and shot.final_take.clip.stem == "010_002"


def test_a_draft_ends_early_and_its_final_does_not(film: Studio) -> None:
    project = replace(film.projects.existing("Film"), draft=Profile(early_end=0.5))
    assert project.draft.setup.early_end == 0.5
    request = make_request(num_inference_steps=20, early_end=0.5, layers={"early_end": "form"})
    assert film.finals.draft_of(request, project).early_end is None


def test_a_layout_is_kept_where_the_noise_has_its_shape_and_else_told(film: Studio) -> None:
    (shot,) = add(film, NewShot("010", "1", "a red ball"))
    draft = make_request(width=160, height=192, num_frames=9, image="a" * 64, reference_images=("b" * 64,))
    final = replace(draft, height=160, image=PENDING, reference_images=(PENDING,))
    assert can_keep_layout(draft, final)
    assert not can_keep_layout(draft, replace(final, reference_images=()))
    assert layout_of(draft, final) == "160x192", "its pictures are of its own size"
    words = replace(draft, image=None, reference_images=())
    assert layout_of(words, replace(words, height=160)) == "160x192@0.65"
    cached = replace(words, height=160, cache=CacheKind.FIRST_BLOCK)
    assert layout_of(words, cached) == layout_of(replace(words, noise_size="160x192@0.5"), cached) == "160x192"
    longer = make_request(width=160, height=192, num_frames=9, layers={"num_frames": "project"})
    clip = film.gallery.clip(adopt_take(film, shot, longer))
    prepared = film.finals.of([clip], keep_layout=True)
    assert prepared.notes == ("The draft's layout is not kept: the final has another number of frames.",)
    assert prepared.requests[0].noise_size == "" and film.finals.of([clip]).notes == ()


def test_a_take_of_a_clip_is_finished_like_the_clip(film: Studio) -> None:
    (shot,) = add(film, NewShot("010", "1", "a red ball"))
    (job_id,) = make(film, shot)
    film.takes.queue(film.takes.again(film.gallery.clip(job_id), Draft(guidance_scale=2.0)))
    Worker(film.settings).run()
    clip = film.gallery.clip(film.shots.existing("010").takes[1].id)
    (final,) = film.finals.of([clip]).requests
    assert (final.height, final.num_inference_steps, final.guidance_scale) == (160, 3, 2.0)


def test_a_project_without_a_final_profile_says_how_to_give_it_one(film: Studio) -> None:
    film.projects.save(replace(DRAFTED, final=FinalProfile()))
    (shot,) = add(film, NewShot("010", "1", "a red ball"))
    (job_id,) = make(film, shot)
    with pytest.raises(
        ProjectError, match='no final profile; give it one, as in: projects edit "Film" --final steps=30'
    ):
        film.finals.of([film.gallery.clip(job_id)])


def test_a_grid_makes_equal_requests_once_and_shares_what_is_there(film: Studio) -> None:
    (shot,) = add(film, NewShot("010", "1", "a {red|blue|red} ball"))
    grid = film.grids.of_shot(shot, Draft(seed=1), [axis("guidance=2,3,3.0")])
    assert (grid.count, len(grid.prepared.clips), grid.shared) == (4, 4, ())
    assert {request.prompt for request in grid.prepared.requests} == {"a red ball", "a blue ball"}
    film.takes.queue(grid.prepared)
    assert [take.number for take in film.shots.existing("010").takes] == [1, 2, 3, 4]
    wider = film.grids.of_shot(shot, Draft(seed=1), [axis("guidance=3,4")])
    assert (wider.count, len(wider.prepared.clips), len(wider.shared)) == (4, 2, 2)
    assert wider.most_bytes == 2 * 160 * 192 * 5


def test_a_grid_without_a_shot_has_one_seed(studio: Studio) -> None:
    grid = studio.grids.of_clip(replace(QUICK, seed=None), [axis("steps=1,2"), axis("flow-shift=2,3")])
    assert len({request.seed for request in grid.prepared.requests}) == 1 and grid.count == 4


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("guidance", "cannot be read; write it as guidance=3,4,5"),
        ("image=a.png", "'image' is no setting of a grid; use one of: image-fit,"),
        ("guidance=x", "is not a number"),
        ("lora:anna=x", "weight of LoRA 'anna'"),
        ("seed=1-x", "cannot be read"),
    ],
)
def test_a_bad_axis_is_one_sentence(text: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        axis(text)


def test_axes_change_drafts() -> None:
    drafts = variations(Draft(prompt="x", seed=1), [axis("lora:anna=0,0.8"), axis("seed=1-3")])
    assert [[lora.text for lora in draft.loras or ()] for draft in drafts[2:4]] == [[], ["anna=0.8"]]
    assert [draft.seed for draft in drafts] == [1, 2, 3, 1, 2, 3]
    assert prompts_of("a {red | blue} ball in {snow|rain}")[1:3] == ["a red ball in rain", "a blue ball in snow"]
    with pytest.raises(RequestError, match="That makes 1,200 clips; at most 1,000 at once"):
        variations(Draft(), [axis("seed=1-600"), axis("steps=1,2")])
    with pytest.raises(RequestError, match="There are two grids over steps"):
        variations(Draft(), [axis("steps=1"), axis("steps=2")])
