"""A project goes from one workspace to another in one ZIP."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from tests.support import adapters
from tests.support.studios import QUICK
from wan_pipeline.clips.latents import read_latents
from wan_pipeline.clips.receipt import load_receipt
from wan_pipeline.errors import ProjectError, UserError
from wan_pipeline.jobs.worker.worker import Worker
from wan_pipeline.projects.bundles.bundle import Need, NeedKind
from wan_pipeline.projects.project import Profile, Project
from wan_pipeline.requests.layers import Setup
from wan_pipeline.requests.request import Draft, LoraChoice
from wan_pipeline.settings import Settings
from wan_pipeline.studio import Studio


@pytest.fixture
def elsewhere(settings: Settings, tmp_path: Path) -> Settings:
    """The settings of another machine, with the same model."""
    other = replace(settings, workspace=tmp_path / "other" / "workspace", loras=tmp_path / "other" / "loras")
    other.loras.mkdir(parents=True)
    other.make_folders()
    return other


@pytest.fixture
def client(studio: Studio, settings: Settings) -> Project:
    """A project with a LoRA in a folder and a style of its own."""
    (settings.loras / "clients").mkdir()
    adapters.write(settings.loras / "clients" / "glow.safetensors")
    style = studio.styles.save("Warm", Draft(preset="noir", guidance_scale=2.5))
    setup = Setup(model="demo", preset=style.id, loras=(LoraChoice("clients/glow", 2.0),), prompt_after="at dusk")
    return studio.projects.create(Project("Client A", "Client A", setup))


def made(settings: Settings, studio: Studio, draft: Draft) -> str:
    job_id = studio.submit(draft, "Client A")
    Worker(settings).run()
    return studio.jobs.existing(job_id).frames_sha256 or ""


def bundle(path: Path, **members: bytes | str) -> Path:
    """A ZIP of these members; `__` in a name stands for a slash, and a manifest and a project's file are there."""
    plain = {"bundle.json": json.dumps({"bundle": 1, "project": "Film"}), "project.toml": 'title = "Film"\n'}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in (plain | members).items():
            archive.writestr(name.replace("__", "/"), content)
    return path


def test_with_its_loras_it_makes_the_same_frames_elsewhere(
    studio: Studio, settings: Settings, elsewhere: Settings, client: Project, tmp_path: Path
) -> None:
    Image.new("RGB", (160, 128), "orange").save(tmp_path / "photo.png")
    draft = replace(QUICK, preset=None, seed=7, image=tmp_path / "photo.png")
    frames = made(settings, studio, draft)
    target = studio.bundles.write("client a", tmp_path / "a.zip", with_loras=True, with_clips=True)
    with Studio(elsewhere) as other:
        taken = other.bundles.read(target)
        assert (taken.project, taken.clips, taken.missing) == (client, 1, ())
        assert other.projects.existing("Client A") == client
        (clip,) = other.gallery.existing([job.id for job in studio.jobs.made(1)])
        assert (clip.project, clip.frames_sha256, clip.poster.is_file()) == ("Client A", frames, True)
        assert read_latents(clip.path, load_receipt(clip.path).latents)
        again = other.requests.draft_of(clip.request)
        assert made(elsewhere, other, again) == frames, "the clip's own picture came along"
        assert made(elsewhere, other, draft) == frames


def test_what_is_missing_is_listed_by_name_and_hash(
    studio: Studio, elsewhere: Settings, client: Project, tmp_path: Path
) -> None:
    target = studio.bundles.write(client.id, tmp_path / "a.zip")
    (path,) = studio.loras.find("clients/glow").paths
    needed = Need(NeedKind.LORA, "clients/glow", studio.lora_catalog.sha256(path))
    (elsewhere.loras / "clients").mkdir()
    other_file = adapters.write(elsewhere.loras / "clients" / "glow.safetensors", alpha=3.0)
    with Studio(replace(elsewhere, models=tmp_path / "none", demo_checkpoint=tmp_path / "none")) as other:
        before = other_file.read_bytes()
        assert other.bundles.read(target).missing == (Need(NeedKind.MODEL, "demo"), needed)
        assert other_file.read_bytes() == before, "a LoRA of the same name is another one, and stays"
        with pytest.raises(ProjectError, match="There is a project 'Client A' here already"):
            other.bundles.read(target)


@pytest.mark.parametrize(
    "name",
    [
        "../outside.mp4",
        "clips__bin/outside.mp4",
        "clips__../../outside.mp4",
        "clips__/etc/outside.mp4",
        "clips__C:/outside.mp4",
        "clips__..\\outside.mp4",
        "clips__.bin/outside.mp4",
        "loras__outside.pt",
        "loras__../outside.safetensors",
        "presets__../outside.toml",
        "inputs__outside.png",
        "app.py",
    ],
)
def test_nothing_is_unpacked_but_to_its_place(studio: Studio, settings: Settings, tmp_path: Path, name: str) -> None:
    source = bundle(tmp_path / "evil.zip", **{name: b"x"})
    before = {path for path in tmp_path.rglob("*") if path.is_file()}
    assert studio.bundles.read(source).clips == 0
    added = {path for path in tmp_path.rglob("*") if path.is_file()} - before
    assert added == {settings.projects / "Film" / "project.toml"}


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"bundle.json": "{"}, "bundle.json cannot be read: it is not JSON"),
        ({"bundle.json": '{"bundle": 2, "project": "Film"}'}, "bundle.json cannot be read"),
        ({"bundle.json": '{"bundle": 1, "project": "../x"}'}, "'../x'"),
        ({"project.toml": 'title = "Film"\nfps = "many"\n'}, "Film/project.toml, line 2: 'fps'"),
        ({"presets__own.toml": "title = 3"}, "own"),
        ({"project.toml": b" " * 2**21}, "larger than 1 MB"),
    ],
)
def test_a_bundle_with_a_fault_is_one_sentence_and_leaves_nothing(
    studio: Studio, settings: Settings, tmp_path: Path, members: dict[str, str | bytes], words: str
) -> None:
    with pytest.raises(UserError) as caught:
        studio.bundles.read(bundle(tmp_path / "film.zip", **members))
    assert words in str(caught.value)
    assert not [*settings.projects.glob("*")] and not [*settings.own_presets.glob("*")]


def test_what_is_no_zip_is_told(studio: Studio, tmp_path: Path) -> None:
    (tmp_path / "film.zip").write_bytes(b"PK")
    with pytest.raises(ProjectError, match=r"film\.zip is no whole ZIP file; export the project again\."):
        studio.bundles.read(tmp_path / "film.zip")
    with pytest.raises(UserError, match=r"none\.zip"):
        studio.bundles.read(tmp_path / "none.zip")


def test_what_other_projects_use_stays_as_it_is(
    studio: Studio, elsewhere: Settings, client: Project, tmp_path: Path
) -> None:
    target = studio.bundles.write(client.id, tmp_path / "a.zip", with_loras=True)
    (elsewhere.loras / "people").mkdir()
    adapters.write(elsewhere.loras / "people" / "Glow.safetensors", alpha=3.0)
    with Studio(elsewhere) as other:
        other.styles.save("Warm", Draft(preset="noir", guidance_scale=9.0))
        taken = other.bundles.read(target)
        assert {(need.kind, need.name) for need in taken.missing} == {("preset", "warm"), ("lora", "clients/glow")}
        assert other.presets["warm"].guidance_scale == 9.0
        assert other.loras.find("glow").name == "people/Glow"


def test_needs_are_found_by_title_and_with_what_profiles_use(studio: Studio) -> None:
    noir, (speed, *_) = studio.presets["noir"], studio.speeds.values()
    project = Project("a", "A", Setup(preset=noir.title, quality="gone"), Profile(speed=speed.title, model="demo"))
    assert studio.bundles._needs.of(project, []) == [
        Need(NeedKind.MODEL, "demo"),
        *sorted([Need(NeedKind.PRESET, "gone"), Need(NeedKind.PRESET, noir.id)], key=lambda need: need.name),
        Need(NeedKind.SPEED, speed.id),
        Need(NeedKind.LORA, speed.lora),
    ]


def test_clips_of_others_and_pictures_under_a_false_name_are_left_out(
    studio: Studio, settings: Settings, elsewhere: Settings, client: Project, tmp_path: Path
) -> None:
    made(settings, studio, replace(QUICK, preset=None))
    target = studio.bundles.write(client.id, tmp_path / "a.zip", with_clips=True)
    with zipfile.ZipFile(target) as archive:
        files = {Path(name).suffix: archive.read(name) for name in archive.namelist() if name.startswith("clips/")}
    receipt = json.loads(files[".json"])
    receipts = {"own": {**receipt, "project": "Film", "made_by": "0badcafe"}, "other": receipt}
    members: dict[str, str | bytes] = {f"clips__{name}.json": json.dumps(one) for name, one in receipts.items()}
    members |= {f"clips__{name}.mp4": files[".mp4"] for name in receipts}
    Image.new("RGB", (64, 64)).save(tmp_path / "x.png")
    members |= {f"inputs__{'0' * 64}.png": (tmp_path / "x.png").read_bytes()}
    with Studio(elsewhere) as other:
        taken = other.bundles.read(bundle(tmp_path / "film.zip", **members))
        assert (taken.clips, taken.skipped, len(taken.notes)) == (1, 1, 2)
        assert [path.name for path in elsewhere.clips.glob("*.mp4")] == ["own.mp4"]
        assert "made_by" not in json.loads((elsewhere.clips / "own.json").read_text())
        assert not list(elsewhere.inputs.iterdir())


def test_a_foreign_output_folder_is_dropped_and_told(studio: Studio, tmp_path: Path) -> None:
    taken = studio.bundles.read(bundle(tmp_path / "a.zip", **{"project.toml": 'title = "Film"\noutput = "/mnt/x"\n'}))
    assert taken.project.output == "" and "/mnt/x" in taken.notes[0]


def test_a_project_of_that_title_and_the_default_project_are_refused(studio: Studio, tmp_path: Path) -> None:
    studio.projects.create(Project("Reel", "Film"))
    with pytest.raises(ProjectError, match="There is a project 'Film' here already"):
        studio.bundles.read(bundle(tmp_path / "a.zip"))
    manifest = json.dumps({"bundle": 1, "project": "default"})
    with pytest.raises(ProjectError, match="default project"):
        studio.bundles.read(bundle(tmp_path / "b.zip", **{"bundle.json": manifest}))
    with pytest.raises(ProjectError, match="default project"):
        studio.bundles.write("", tmp_path / "c.zip")
