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
from wan_pipeline.studio.keys_of_projects import name_as_folders


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


def test_what_a_key_covers_is_settled_when_it_is_made(studio: Studio, settings: Settings) -> None:
    studio.projects.create(Project("Film", "The film"))
    studio.projects.create(Project("Other", "Other"))
    keys = [studio.create_key(Role.MAKE, name)[1] for name in ("film", "the film")]
    studio.projects.save(Project("Film", "Renamed"))
    studio.projects.save(Project("Other", "The film"))
    studio.submit(QUICK, "Other")
    mine = studio.submit(QUICK, "Film")
    finish(studio, settings)
    for key in keys:
        guest = CallerStudio(studio, Caller(key.role, key))
        assert (key.project, [clip.id for clip in guest.clips()]) == ("Film", [mine])


def test_a_project_that_is_new_with_its_key_is_the_keys_whatever_is_retitled_later(studio: Studio) -> None:
    _, key = studio.create_key(Role.MAKE, "film")
    assert [project.id for project in studio.projects.all()] == [DEFAULT, "film"]
    studio.projects.save(Project(DEFAULT, "Film"))
    job = CallerStudio(studio, Caller(key.role, key)).generate(replace(QUICK))
    assert job.project == key.project == "film"


def test_guests_watch_while_the_projects_file_cannot_be_read_and_read_nothing_of_it(
    studio: Studio, settings: Settings
) -> None:
    _, key = studio.create_key(Role.MAKE, "Film")
    mine = studio.submit(QUICK, "Film")
    finish(studio, settings)
    studio.projects.path("Film").write_text('title = "Film"\nsecret = 1\n')
    guest = CallerStudio(studio, Caller(key.role, key))
    assert [clip.id for clip in guest.clips()] == [mine] and guest.presets() and guest.reel() == []
    with pytest.raises(UserError) as refused:
        guest.generate(QUICK)
    assert str(refused.value) == "The project cannot be used now; ask the owner to correct its file."


def test_keys_of_older_versions_name_their_projects_by_the_folders(studio: Studio) -> None:
    for id, title in (("Film", "A"), ("A-B", "a/b"), ("Other", "Titled"), (DEFAULT, "House")):
        studio.projects.create(Project(id, title))
    typed = ("film", "A/B", "Film", "titled", "house", "DEFAULT", "gone", ":::", "../projects/Film", "")
    made = {studio.keys.create(Role.VIEW, name)[1].id: name for name in typed}
    for _ in range(2):
        name_as_folders(studio.keys, studio.projects)
        now = {made[key.id]: key.project for key in studio.keys.list()}
        kept = {name: name for name in typed}
        assert now == {**kept, "film": "Film", "A/B": "A-B", "DEFAULT": DEFAULT}
