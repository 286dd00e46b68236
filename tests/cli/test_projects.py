"""`projects`, and `--project` of the other commands, as a script runs them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.support.commands import MODEL, QUICK, make_folders, wan
from wan_pipeline.cli.projects import _NOT_SETUP
from wan_pipeline.clips.receipt import load_receipt
from wan_pipeline.projects.project import SETUP_KEYS
from wan_pipeline.requests import options

SIZE = ["--width", "160", "--height", "128", "--frames", "5"]


@pytest.fixture
def folders(tmp_path: Path, tiny_demo: Path) -> list[str]:
    return make_folders(tmp_path, tiny_demo)


def ran(folders: list[str], *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    result = wan(*folders, *arguments)
    assert result.returncode == 0, result.stderr
    return result


@pytest.mark.soak
def test_a_project_gives_its_clips_their_setup_names_and_copies(folders: list[str], tmp_path: Path) -> None:
    setup = ["--model", MODEL, *SIZE, "--steps", "3", "--prompt-after", "warm light", "--preset", "noir"]
    names = ["--naming", "{project}/{take:03}_{seed}", "--output-folder", tmp_path / "out", "--draft", "steps=2"]
    made = ran(folders, "projects", "create", "Client A", *setup, *names, "--json")
    report = json.loads(made.stdout)
    assert (report["id"], report["setup"]["num_inference_steps"]) == ("Client A", 3)
    assert Path(report["path"]) == tmp_path / "workspace" / "projects" / "Client A" / "project.toml"

    clip = json.loads(ran(folders, "generate", "--prompt", "a red ball", "--project", "client a", "--seed", "7",
                          "--profile", "draft", "--json").stdout.splitlines()[-1])  # fmt: skip
    assert Path(clip["clip"]) == tmp_path / "workspace" / "clips" / "Client A" / "001_7.mp4"
    assert (tmp_path / "out" / "Client A" / "001_7.mp4").read_bytes() == Path(clip["clip"]).read_bytes()
    receipt = load_receipt(Path(clip["clip"]))
    assert (receipt.project, receipt.request.num_inference_steps, receipt.request.preset) == ("Client A", 2, "noir")
    assert receipt.request.styled_prompt == "a red ball, warm light, black and white film noir"
    assert receipt.request.layers["num_inference_steps"] == "project" and receipt.request.layers["fps"] == "model"

    added = ran(folders, "queue", "add", "--prompt", "a blue ball", "--project", "Client A", "--seed", "8", "--json")
    job = json.loads(added.stdout)
    assert (job["project"], job["request"]["num_inference_steps"], added.stderr) == ("Client A", 3, "")
    (listed,) = [line for line in ran(folders, "projects", "list", "--json").stdout.splitlines() if "Client A" in line]
    assert (json.loads(listed)["jobs"], json.loads(listed)["clips"]) == (1, 0)


def test_only_settings_that_a_setup_has_are_offered() -> None:
    offered = {option.field for option in options.OPTIONS if option.name not in _NOT_SETUP}
    assert offered <= set(SETUP_KEYS)


@pytest.mark.soak
def test_a_new_project_is_made_and_told_and_lists_keep_to_it(folders: list[str], tmp_path: Path) -> None:
    clip = ["--model", MODEL, *QUICK]
    told = ran(folders, "queue", "add", *clip, "--project", "Nacht").stderr
    assert told.startswith("note: the project 'Nacht' is new; its settings are in ") and told.count("\n") == 1
    assert ran(folders, "queue", "add", *clip, "--project", "nacht").stderr == ""
    refused = wan(*folders, "queue", "add", *clip, "--preset", "gone", "--project", "Typo")
    assert refused.returncode == 2 and "note:" not in refused.stderr
    assert not (tmp_path / "workspace" / "projects" / "Typo").exists()
    ran(folders, "queue", "add", *clip)
    ran(folders, "projects", "edit", "Nacht", "--steps", "4")
    (tmp_path / "list.csv").write_text(
        "prompt,model,width,height,frames,project\na,M,160,128,5,Tag\nb,M,160,128,5,\n".replace("M", MODEL)
    )
    told = ran(folders, "queue", "add", "--file", tmp_path / "list.csv", "--project", "Nacht").stderr
    assert "the project 'Tag' is new" in told

    def jobs(*options: str) -> list[dict[str, object]]:
        return [json.loads(line) for line in ran(folders, "queue", "list", "--json", *options).stdout.splitlines()]

    assert [job["project"] for job in jobs()] == ["Nacht", "Nacht", "", "Tag", "Nacht"]
    assert [job["request"]["num_inference_steps"] for job in jobs("--project", "NACHT")] == [2, 2, 4]
    assert len(jobs("--project", "default")) == 1
    exported = tmp_path / "night.jsonl"
    ran(folders, "queue", "export", exported, "--project", "Nacht")
    assert len(exported.read_text().splitlines()) == 3
    assert ran(folders, "queue", "cancel", "--project", "nacht").stdout == "3\n"
    assert ran(folders, "queue", "clear", "--project", "Tag").stdout == "0\n"
    assert ran(folders, "queue", "clear", "--project", "Nacht").stdout == "3\n"
    requests = [job["request"] for job in jobs()]
    ran(folders, "queue", "add", "--file", exported)
    again = [job["request"] for job in jobs("--project", "Nacht")]
    assert len(requests) == 2 and [request["num_inference_steps"] for request in again] == [2, 2, 4]


def test_a_projects_file_that_is_bad_is_told_and_stops_nothing_else(folders: list[str], tmp_path: Path) -> None:
    path = Path(ran(folders, "projects", "create", "Bad").stdout.strip())
    path.write_text('title = "Bad"\nfps = "fast"\n')
    told = ran(folders, "queue", "add", "--model", MODEL, *QUICK).stderr
    assert "warning: Project file Bad/project.toml, line 2: 'fps' = 'fast'" in told
    refused = wan(*folders, "generate", "--model", MODEL, *QUICK, "--project", "bad")
    assert refused.returncode == 2 and "line 2: 'fps'" in refused.stderr
    shown = wan(*folders, "projects", "show", "gone")
    assert (shown.returncode, shown.stderr.count("There is no project 'gone'")) == (2, 1)
    unfit = wan(*folders, "projects", "create", "C", "--naming", "{client}")
    assert unfit.returncode == 2 and "there is no field {client}" in unfit.stderr


def test_a_project_goes_to_another_workspace(folders: list[str], tmp_path: Path) -> None:
    setup = ["--steps", "3", "--model", "wan2.2-ti2v-5b", "--output-folder", "~/out"]
    ran(folders, "projects", "create", "Client A", *setup)
    written = json.loads(
        ran(folders, "projects", "export", "Client A", "--output", tmp_path / "a.zip", "--json").stdout
    )
    assert written == {"path": str(tmp_path / "a.zip"), "bytes": (tmp_path / "a.zip").stat().st_size, "notes": []}
    there = [f"--workspace={tmp_path / 'other'}"]
    taken = json.loads(ran(folders, "projects", "import", tmp_path / "a.zip", *there, "--json").stdout)
    assert (taken["id"], taken["setup"]["num_inference_steps"], taken["clips"]) == ("Client A", 3, 0)
    assert taken["output"] == "" and "~/out" in taken["notes"][0]
    told = ran(folders, "projects", "import", tmp_path / "a.zip", f"--workspace={tmp_path / 'third'}").stdout
    assert "note: " in told and "~/out" in told
    again = wan(*folders, "projects", "import", tmp_path / "a.zip", *there)
    assert (again.returncode, again.stderr.count("\n")) == (2, 1)
