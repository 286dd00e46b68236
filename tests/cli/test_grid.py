"""`queue add --grid` and `finish`, as a script runs them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.test_shots import SIZE, refused, told
from tests.support.commands import make_folders, wan


@pytest.fixture
def folders(tmp_path: Path, tiny_demo: Path) -> list[str]:
    return make_folders(tmp_path, tiny_demo)


@pytest.mark.soak
def test_a_grid_is_told_before_it_is_queued_and_made_once(folders: list[str]) -> None:
    clip = ["queue", "add", *SIZE, "--seed", "1", "--prompt", "a {red|blue} ball", "--grid", "guidance=2,3"]
    dry = wan(*folders, *clip, "--dry-run", "--json")
    report = json.loads(dry.stdout.splitlines()[-1])
    assert (report["count"], report["queued"], report["jobs"], report["bytes"]) == (4, 0, [], 4 * 160 * 128 * 5)
    assert dry.stderr.startswith("note: 4 clips, about ") and "at most 410 kB on the disk." in dry.stderr
    assert told(folders, *clip)["queued"] == 4
    again = told(folders, *clip, "--grid", "flow-shift=3,4")
    assert again["count"] == 8 and len(again["jobs"]) + len(again["shared"]) == 8
    more = told(folders, *clip)
    assert (more["count"], more["queued"], len(more["shared"])) == (4, 0, 4)
    assert "is no setting of a grid" in refused(folders, *clip, "--grid", "nonsense=1")


@pytest.mark.soak
def test_picked_takes_are_finished(folders: list[str]) -> None:
    profile = ["--draft", "steps=1", "--final", "steps=3"]
    wan(*folders, "projects", "create", "Film", *SIZE[:-2], *profile)
    told(folders, "shots", "add", "010", "--description", "a red ball", "--project", "Film")
    draft = told(folders, "take", "010", "--project", "Film")
    assert "no picked take without a final" in refused(folders, "finish", "--project", "Film", "--picked")
    assert "One of these is required" in refused(folders, "finish", "--project", "Film")
    assert wan(*folders, "queue", "work").returncode == 0
    told(folders, "shots", "pick", "--project", "Film")
    result = wan(*folders, "finish", "--project", "Film", "--picked", "--json")
    report = json.loads(result.stdout.splitlines()[-1])
    (final,) = report["finals"]
    assert result.stderr.startswith("note: 1 clip, about ")
    assert (report["count"], final["final_of"], final["draft"], final["take"]) == (1, draft["id"], draft["id"], 2)
    steps = [each["request"]["num_inference_steps"] for each in (draft, final)]
    assert (steps, final["seed"]) == ([1, 3], draft["seed"])
