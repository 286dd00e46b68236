"""What the studio is to one caller, without a server."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from tests.support.studios import QUICK
from wan_pipeline.access.callers import Caller
from wan_pipeline.access.keys import Key
from wan_pipeline.access.roles import Role
from wan_pipeline.caller_studio import CallerStudio
from wan_pipeline.errors import PresetError
from wan_pipeline.projects.project import Project
from wan_pipeline.requests.layers import Setup
from wan_pipeline.requests.request import Draft
from wan_pipeline.studio import Studio


@pytest.fixture
def styles(studio: Studio) -> list[str]:
    """The ids of the styles that ship; beside them one is saved for all, and one in each of two projects."""
    shipped = list(studio.presets)
    for title, project in (("For all", ""), ("Harbour grey", "Harbour"), ("Secret launch", "Rocket")):
        studio.projects.ensure(project)
        studio.styles.save(title, Draft(model="demo", preset="noir"), project)
    return shipped


def guest(studio: Studio, project: str) -> CallerStudio:
    key: Key = studio.keys.create(Role.MAKE, project)[1]
    return CallerStudio(studio, Caller(key.role, key))


def seen(caller: CallerStudio, styles: list[str]) -> set[str]:
    ids = {preset.id for preset in caller.presets()}
    assert ids >= set(styles)
    return ids - set(styles)


def test_a_guest_of_a_project_sees_its_styles_and_those_for_all(studio: Studio, styles: list[str]) -> None:
    assert studio.presets["secret-launch"].project == "Rocket"
    assert seen(guest(studio, "Harbour"), styles) == {"for-all", "harbour-grey"}
    assert seen(guest(studio, "Rocket"), styles) == {"for-all", "secret-launch"}
    every = {"for-all", "harbour-grey", "secret-launch"}
    assert seen(guest(studio, ""), styles) == every, "whose key covers the whole studio"
    assert seen(CallerStudio(studio, Caller(Role.OWNER)), styles) == every
    visitor = studio.keys.create_for_visitor(timedelta(days=1))[1]
    assert seen(CallerStudio(studio, Caller(visitor.role, visitor)), styles) == {"for-all"}


@pytest.mark.parametrize("name", ["secret-launch", "Secret launch"])
def test_a_style_of_another_project_does_not_exist(name: str, studio: Studio, styles: list[str]) -> None:
    caller, draft = guest(studio, "Harbour"), replace(QUICK, preset=name)
    for ask in (caller.forecast, caller.generate):
        with pytest.raises(PresetError, match="There is no preset") as refused:
            ask(draft)
        assert "launch" not in str(refused.value).replace(name, "") and "harbour-grey" in str(refused.value)
    assert not studio.jobs.recent(1)
    assert caller.generate(replace(QUICK, preset="Harbour grey")).request.preset == "harbour-grey"


def test_a_style_that_the_projects_setup_has_is_seen(studio: Studio, styles: list[str]) -> None:
    studio.projects.save(Project("Harbour", "Harbour", Setup(preset="secret-launch")))
    caller = guest(studio, "Harbour")
    assert "secret-launch" in seen(caller, styles)
    assert caller.generate(replace(QUICK, preset=None)).request.preset == "secret-launch"
