"""The studio as guests may use it: settings of their project, and nothing that others made clips from."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support.studios import QUICK, finish
from wan_pipeline.access.callers import OWNER_HERE, Caller
from wan_pipeline.access.roles import Role
from wan_pipeline.api.drafts import draft_of, place_of
from wan_pipeline.api.lists import page_of
from wan_pipeline.api.tools import AgentTools
from wan_pipeline.caller_studio import CallerStudio
from wan_pipeline.errors import RequestError
from wan_pipeline.projects.project import Profile, Project
from wan_pipeline.requests.layers import Setup
from wan_pipeline.settings import Settings
from wan_pipeline.studio import Studio

FILM = Project("Film", "Film", Setup(fps=4, num_inference_steps=3, prompt_before="A secret.", preset="noir"))


def guest_of(studio: Studio, project: str = "Film") -> CallerStudio:
    _, key = studio.create_key(Role.MAKE, project)
    return CallerStudio(studio, Caller(key.role, key))


def test_frames_forecasts_and_clips_are_those_of_the_project(studio: Studio) -> None:
    studio.projects.create(FILM)
    guest, owner = guest_of(studio), CallerStudio(studio, OWNER_HERE)
    asked = draft_of({"prompt": "a ball", "size": "160x160", "seconds": 2}, {}, guest.frames_of)
    assert asked.num_frames == 9, "2 seconds at the project's 4 frames per second"
    job = guest.generate(asked)
    assert (job.project, job.request.fps, job.request.seconds) == ("Film", 4, 2.0)
    bare = replace(asked, num_frames=None)
    assert guest.frames_of(bare, 2) == owner.frames_of(bare, 2, "film") < owner.frames_of(bare, 2)
    studio.queue.cancel(job.id)
    took = guest.forecast(asked).clip_seconds
    assert took == owner.forecast(asked, "Film").clip_seconds < owner.forecast(asked).clip_seconds
    tools = AgentTools(guest, "")
    tools.generate("a ball", size="160x160", seconds=2)
    assert studio.jobs.recent(1)[0].request.num_frames == 9
    assert tools.forecast(size="160x160", seconds=2)["clip_seconds"] == round(guest.forecast(asked).clip_seconds, 1)


def test_a_guest_takes_no_style_where_their_project_has_one(studio: Studio) -> None:
    studio.projects.create(FILM)
    guest = guest_of(studio)
    assert guest.generate(replace(QUICK, num_frames=5)).request.preset == "noir"
    assert guest.generate(draft_of({"prompt": "a", "preset": "none"}, {}, guest.frames_of)).request.preset is None


def test_what_others_made_a_clip_from_is_not_shown(studio: Studio, settings: Settings) -> None:
    studio.projects.create(FILM)
    job_id = studio.submit(QUICK, "Film")
    finish(studio, settings)
    guest = guest_of(studio)
    job = studio.jobs.existing(job_id)
    for clip in (*guest.clips(), guest.clip(job_id), *guest.clips_of_jobs([job])):
        request = clip.request
        assert (request.prompt, request.styled_prompt, request.prompt_before, request.prompt_after) == ("",) * 4
        assert (request.preset, request.loras, request.layers) == (None, (), {})
    assert guest.jobs() == guest.jobs_of_clips(guest.clips()) == []
    assert "secret" not in str(page_of(guest, 9).videos)


def test_a_key_for_film_is_one_for_the_project_film_in_capitals(studio: Studio, settings: Settings) -> None:
    studio.projects.create(FILM)
    guest = guest_of(studio, "film")
    job = guest.generate(replace(QUICK, num_frames=5))
    finish(studio, settings)
    assert [clip.id for clip in guest.clips()] == [job.id]
    assert [video["status"] for video in page_of(guest, 9).videos] == ["completed"]


def test_programs_choose_a_profile_and_deterministic_mode(studio: Studio) -> None:
    studio.projects.create(replace(FILM, draft=Profile(num_inference_steps=2)))
    for caller, project in ((guest_of(studio), {}), (CallerStudio(studio, OWNER_HERE), {"project": "film"})):
        asked = {"prompt": "a ball", "size": "160x160", "profile": "Draft", "deterministic": True}
        values: dict[str, object] = {**asked, **project}
        place = place_of(caller, values)
        assert values.keys() == {"prompt", "size"}
        draft = draft_of(values, {}, caller.frames_of)
        job = caller.generate(draft, place.project, place.profile, deterministic=place.deterministic)
        assert (job.project, job.request.num_inference_steps, job.deterministic) == ("Film", 2, True)
    for wrong in ({"profile": "best"}, {"deterministic": "perhaps"}, {"deterministic": []}):
        with pytest.raises(RequestError):
            place_of(CallerStudio(studio, OWNER_HERE), dict(wrong))
