"""Projects are folders with a file: read again when it changes; one bad file stops nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from wan_pipeline.errors import ProjectError
from wan_pipeline.projects.project import FinalProfile, Profile, Project
from wan_pipeline.projects.store import Projects
from wan_pipeline.requests.layers import Layers, Setup
from wan_pipeline.requests.request import LoraChoice

WHOLE = Project(
    "Client A",
    "Client A",
    Setup(model="demo", loras=(LoraChoice("palette", 0.8),), fps=12, prompt_after="warm\nlight"),
    Profile(num_inference_steps=4),
    FinalProfile(num_inference_steps=40, width=1280, height=720),
    "{project}/{take:03}_{seed}",
    "/mnt/out",
    "Call on Monday.",
)
BAD = [
    ('fps = "fast"\n', r"line 3: 'fps' = 'fast': Input should be a valid integer"),
    ("mood = 1\n", "line 3: 'mood' is not a known key; known keys: "),
    ("\n[draft]\nmodel = 'demo'\nfps = 8\n", "line 6: 'draft.fps' is not a known key"),
    ('loras = [\n  { name = "x", weight = 99 },\n]\n', "line 3: 'loras.0.weight' = 99"),
    ('naming = "{client}"\n', "line 3: 'naming' = '{client}': there is no field {client}"),
    ("fps = \n", "it is not TOML (Invalid value (at line 3, column 7))"),
]


@pytest.fixture
def projects(tmp_path: Path) -> Projects:
    return Projects(tmp_path / "projects")


def write(projects: Projects, name: str, text: str) -> Path:
    path = projects.path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_a_project_is_found_by_id_or_title_whatever_its_case(projects: Projects) -> None:
    projects.create(WHOLE)
    assert projects.find("client a") == projects.existing(" CLIENT A ") == WHOLE
    assert projects.layers("Client A") == Layers(WHOLE.setup)
    assert projects.layers("Client A", "final").project.width == 1280
    assert projects.layers("Client A", "draft").project.fps == 12
    assert [project.id for project in projects.all()] == ["default", "Client A"]
    with pytest.raises(ProjectError, match="There is a project 'Client A' already"):
        projects.create(WHOLE)
    with pytest.raises(ProjectError, match=r"no project 'Client B'.*holds: Default project, Client A"):
        projects.existing("Client B")


def test_what_people_wrote_around_the_values_stays(projects: Projects) -> None:
    path = write(
        projects, "a", '# for the spring\ntitle = "A"  # short\nfps = 8\n\n[draft]\n# quick\nnum_inference_steps = 4\n'
    )
    changed = projects.existing("a")
    projects.save(Project("a", "A", Setup(fps=12, width=320), changed.draft))
    text = path.read_text()
    assert text.startswith('# for the spring\ntitle = "A"  # short\nfps = 12\nwidth = 320\n')
    assert "# quick\nnum_inference_steps = 4" in text
    assert projects.existing("a").setup == Setup(fps=12, width=320)


def test_a_project_that_does_not_exist_is_made_and_clips_without_one_make_none(projects: Projects) -> None:
    assert projects.ensure("") == projects.ensure("Default") == (projects.default, False)
    made, is_new = projects.ensure("Nacht & Nebel")
    assert (made.id, made.label, is_new) == ("Nacht & Nebel", "Nacht & Nebel", True)
    assert projects.ensure("nacht & nebel") == (made, False)
    slashed, _ = projects.ensure("a/b")
    assert (slashed.id, slashed.title, projects.label("A/B")) == ("a-b", "a/b", "a-b")
    with pytest.raises(ProjectError, match="a name that no folder can have"):
        projects.ensure("..")
    with pytest.raises(ProjectError, match=r"is not valid.*title"):
        projects.ensure("x" * 201)
    assert not projects.problems


def test_zeros_and_an_empty_negative_prompt_stay(projects: Projects) -> None:
    setup = Setup(
        negative_prompt="", replaces_negative_prompt=True, guidance_scale=0.0, first_block_cache=0.0, loras=()
    )
    projects.save(Project("a", "A", setup))
    assert projects.existing("a").setup == setup


@pytest.mark.parametrize("name", ["Client A?", "client a.", "Client A|"])
def test_a_name_whose_folder_is_another_project_is_that_project(projects: Projects, name: str) -> None:
    projects.create(WHOLE)
    before = projects.path(WHOLE.id).read_bytes()
    assert projects.ensure(name) == (WHOLE, False) and projects.label(name) == WHOLE.label
    assert projects.ensure("default?") == (projects.default, False)
    with pytest.raises(ProjectError, match="already"):
        projects.create(Project(WHOLE.id, name))
    assert projects.path(WHOLE.id).read_bytes() == before


def test_a_project_with_a_bad_file_is_not_overwritten(projects: Projects) -> None:
    path = write(projects, "Film", "fps = \n")
    with pytest.raises(ProjectError, match=r"Film/project\.toml"):
        projects.ensure("Film?")
    assert path.read_text() == "fps = \n"


@pytest.mark.parametrize(("text", "says"), BAD)
def test_a_fault_is_told_with_file_line_and_key_and_stops_nothing(projects: Projects, text: str, says: str) -> None:
    projects.create(WHOLE)
    write(projects, "bad", f'# a client\ntitle = "Bad"\n{text}')
    (problem,) = projects.problems
    assert problem.startswith("Project file bad/project.toml") and says in problem
    assert [project.id for project in projects.all()] == ["default", "Client A"]
    with pytest.raises(ProjectError, match=r"bad/project\.toml"):
        projects.layers("bad")


def test_a_file_is_read_again_when_it_changes(projects: Projects) -> None:
    path = write(projects, "a", 'title = "A"\nfps = 8\n')
    assert projects.layers("a").project.fps == 8
    path.write_text('title = "A"\nfps = 9\n')
    os.utime(path, (1, 1))  # a clock with coarse ticks would give both files one time
    assert projects.layers("a").project.fps == 9
    path.unlink()
    assert projects.find("a") is None


def test_duplicate_and_archive(projects: Projects) -> None:
    projects.create(WHOLE)
    copy = projects.duplicate("Client A")
    assert (copy.id, copy.title, copy.setup) == ("Client A 2", "Client A 2", WHOLE.setup)
    assert projects.archive("Client A").archived and projects.existing("Client A").archived
    assert not projects.archive("Client A", archived=False).archived
