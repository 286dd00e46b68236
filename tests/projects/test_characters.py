"""Characters and places of a project: its file, its clips, its ZIP."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from tests.support import adapters
from tests.support.commands import MODEL, make_folders, wan
from wan_pipeline.clips.receipt import load_receipt
from wan_pipeline.errors import ImageError, ProjectError
from wan_pipeline.projects.bundles.bundle import Need, NeedKind
from wan_pipeline.projects.project import Project
from wan_pipeline.requests.layers import Setup
from wan_pipeline.requests.prompts.characters import Character
from wan_pipeline.requests.request import Draft, LoraChoice
from wan_pipeline.settings import Settings
from wan_pipeline.studio import Studio

FILE = """# our film
title = "Film"

[characters.anna]  # the lead
kind = "character"
sentence = "a woman"
"""


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    Image.new("RGB", (160, 128), "orange").save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def test_they_are_in_the_projects_file_and_its_comments_stay(studio: Studio, photo: Path) -> None:
    path = studio.projects.path("Film")
    path.parent.mkdir(parents=True)
    path.write_text(FILE)
    name, anna = studio.characters.existing("film", "@ANNA")
    shown = studio.characters.with_pictures(anna, [photo, photo])
    assert studio.characters.change("Film", name, shown) == "anna"
    assert studio.characters.add("Film", "@mill", Character(lora=LoraChoice("mill", 0.5))) == "mill"
    text = path.read_text()
    assert "# our film" in text and "# the lead" in text
    assert studio.characters.all("Film")["anna"].pictures == (*shown.pictures,) and len(shown.pictures) == 1
    for bad in ("two words", "", "a" * 41, "../x"):
        with pytest.raises(ProjectError, match="is no name for a character"):
            studio.characters.add("Film", bad, Character())
    with pytest.raises(ProjectError, match="already"):
        studio.characters.change("Film", "mill", Character(), "Anna")
    studio.characters.remove("Film", "anna")
    assert list(studio.characters.all("Film")) == ["mill"]
    path.write_text(FILE.replace('"a woman"', "3"))
    with pytest.raises(ProjectError, match="line 6"):
        studio.characters.all("Film")


def test_they_may_be_named_as_keys_of_the_file(studio: Studio) -> None:
    for name in ("loras", "lora", "characters"):
        studio.characters.add("Film", name, Character(sentence=name, lora=LoraChoice("mill", 0.5)))
    assert [each.sentence for each in studio.characters.all("Film").values()] == ["loras", "lora", "characters"]
    text = studio.projects.path("Film").read_text()
    assert text.count("[characters.lora") == 2 and text.count("lora = {") == 3


def test_a_picture_with_a_fault_makes_no_project(studio: Studio, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no picture")
    with pytest.raises(ImageError):
        studio.characters.add("Film", "anna", Character(), [tmp_path / "bad.png"])
    assert studio.projects.find("Film") is None


def test_a_clip_gets_words_lora_and_first_frame(studio: Studio, settings: Settings, photo: Path) -> None:
    adapters.write(settings.loras / "glow.safetensors")
    studio.projects.create(Project("Film", "Film", Setup(model="demo", width=160, height=160, num_frames=5)))
    studio.characters.add("Film", "ball", Character(sentence="a red ball", lora=LoraChoice("glow", 0.5)))
    studio.characters.add("Film", "hut", Character(sentence="green hills"), [photo])
    job = studio.jobs.existing(studio.submit(Draft(prompt="@ball bounces over @hut", seed=1), "Film"))
    assert (job.request.prompt, job.request.loras) == (
        "a red ball bounces over green hills",
        (LoraChoice("glow", 0.5),),
    )
    saved = studio.requests.pictures.find(job.request.image or "")
    assert saved and saved.is_file() and job.request.layers["loras"] == "form"
    again = studio.requests.resolve(studio.drafts.of_job(job.id))
    assert (again.prompt, again.image, again.loras) == (job.request.prompt, job.request.image, job.request.loras)
    own = studio.jobs.existing(studio.submit(Draft(prompt="@ball", image=photo, seed=1), "Film")).request
    assert own.image == job.request.image, "the same picture, given by hand"
    saved.unlink()
    gone = studio.requests.within(studio.projects.layers("Film")).check(Draft(prompt="@hut"))
    assert gone.image is None and "gone from the workspace" in gone.notes[0]


def test_they_go_along_in_the_projects_zip(studio: Studio, settings: Settings, photo: Path, tmp_path: Path) -> None:
    adapters.write(settings.loras / "glow.safetensors")
    studio.characters.add("Film", "anna", Character(sentence="a woman", lora=LoraChoice("glow")), [photo])
    target = studio.bundles.write("Film", tmp_path / "film.zip")
    other = replace(settings, workspace=tmp_path / "other", loras=tmp_path / "other-loras")
    other.loras.mkdir()
    other.make_folders()
    with Studio(other) as elsewhere:
        taken = elsewhere.bundles.read(target)
        (anna,) = elsewhere.characters.all("Film").values()
        assert anna == studio.characters.all("Film")["anna"]
        assert len(elsewhere.characters.pictures(anna)) == 1
        assert [(need.kind, need.name) for need in taken.missing] == [(NeedKind.LORA, "glow")]
        assert isinstance(taken.missing[0], Need)


@pytest.mark.soak
def test_the_command_line_tells_what_is_not_used(tmp_path: Path, tiny_demo: Path, photo: Path) -> None:
    folders = make_folders(tmp_path, tiny_demo)

    def told(*arguments: str | Path) -> dict[str, object]:
        result = wan(*folders, *arguments, "--json")
        assert result.returncode == 0, result.stderr
        found: dict[str, object] = json.loads(result.stdout.splitlines()[-1])
        return found

    added = told("characters", "add", "@ball", "--sentence", "a red ball", "--lora", "gone=0.5", "--project", "Film")
    assert (added["name"], added["sentence"], added["pictures"]) == ("ball", "a red ball", [])
    edited = told("characters", "edit", "ball", "--picture", photo, "--place", "--project", "Film")
    assert (edited["kind"], len(edited["pictures"])) == ("place", 1)  # type: ignore[arg-type]
    listed = told("characters", "list", "--project", "Film")
    assert (listed["project"], listed["count"]) == ("Film", 1)
    clip = told("generate", "--project", "Film", "--model", MODEL, "--prompt", "@ball near @sea", "--width", "160",
                "--height", "128", "--frames", "5", "--steps", "1")  # fmt: skip
    receipt = load_receipt(Path(str(clip["clip"])))
    assert receipt.request.prompt == "a red ball near @sea"
    assert (
        [text.split(":")[0] for text in receipt.warnings[:2]]
        == [
            "@sea is read as text",
            "The LoRA of @ball is left out",
        ]
        == [text.split(":")[0] for text in clip["warnings"][:2]]
    )  # type: ignore[attr-defined]
    assert told("characters", "remove", "ball", "--project", "Film")["removed"] == "ball"
