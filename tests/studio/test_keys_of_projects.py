"""A guest's key covers one project, or, only if none was named, the whole studio."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support.studios import QUICK, finish
from wan_pipeline.access.callers import Caller
from wan_pipeline.access.roles import Role
from wan_pipeline.api.serve import _invited
from wan_pipeline.caller_studio import CallerStudio
from wan_pipeline.errors import ProjectError, UserError
from wan_pipeline.projects.project import DEFAULT, Project
from wan_pipeline.settings import Settings
from wan_pipeline.studio import Studio


@pytest.mark.parametrize("name", ["default", "Default", " default ", "House", "house", "  "])
def test_no_key_is_for_the_default_project_because_that_is_one_for_the_whole_studio(studio: Studio, name: str) -> None:
    studio.projects.create(Project(DEFAULT, "House"))
    with pytest.raises(ProjectError, match=r"is the default one.*choose another project, or none"):
        studio.create_key(Role.MAKE, name)
    assert studio.keys.list() == []


@pytest.mark.parametrize("name", ["default", "House"])
def test_a_stored_key_of_the_default_project_does_not_open_the_studio(
    studio: Studio, settings: Settings, name: str
) -> None:
    studio.projects.create(Project(DEFAULT, "House"))
    studio.projects.create(Project("Film", "Film"))
    ours, secret = studio.submit(QUICK), studio.submit(replace(QUICK, seed=2), "Film")
    finish(studio, settings)
    _, key = studio.keys.create(Role.VIEW, name)
    guest = CallerStudio(studio, Caller(key.role, key))
    assert list(guest.clips()) == guest.clips_of_jobs([studio.jobs.existing(id) for id in (ours, secret)]) == []
    assert guest.reel() == []


def test_a_key_without_a_project_is_for_the_whole_studio(studio: Studio) -> None:
    assert studio.create_key(Role.VIEW)[1].project == ""


@pytest.mark.parametrize("name", [":::", "a\nb", "x" * 256])
def test_a_name_that_no_project_can_have_makes_no_key(studio: Studio, name: str) -> None:
    with pytest.raises(UserError):
        studio.create_key(Role.VIEW, name)
    assert studio.keys.list() == []


def test_the_servers_own_invitation_never_opens_the_default_project(studio: Studio) -> None:
    studio.projects.create(Project(DEFAULT, "Shared"))
    told = list[str]()
    with _invited(studio, ["https://abc.gradio.live"], told.append, is_shared=True):
        assert told[1].startswith("No invitation was made: The project 'Shared' is the default one")
        assert [key.role for key in studio.keys.list()] == [Role.OWNER]
