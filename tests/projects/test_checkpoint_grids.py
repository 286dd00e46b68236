"""Checkpoints of a training by weights: one batch of clips, and a sheet with labelled axes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support import adapters
from tests.support.commands import MODEL, make_folders
from tests.support.studios import working
from wan_pipeline.cli import main
from wan_pipeline.errors import UserError
from wan_pipeline.projects.checkpoint_grids import CheckpointGrid, GridOrder, read_weights
from wan_pipeline.projects.project import Project
from wan_pipeline.requests.layers import Setup
from wan_pipeline.settings import Settings
from wan_pipeline.studio import Studio

SMALL = Setup(width=160, height=160, num_frames=5, num_inference_steps=2)


def write_lora(path: Path, step: int, seed: int = 7, base: str = "demo") -> None:
    """As a training writes it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    metadata = {"base_model": base, "receipt": json.dumps({"steps": step, "seed": seed})}
    adapters.write(path, metadata=metadata, seed=step)


@pytest.fixture
def trained(settings: Settings) -> Settings:
    """With a training of 8 steps, of which checkpoints at 2 and 4 are kept."""
    for step in (2, 4):
        write_lora(settings.trainings / "look" / f"look-{step}.safetensors", step)
    write_lora(settings.loras / "look.safetensors", 8)
    return settings


def queued(studio: Studio, **changes: object) -> CheckpointGrid:
    studio.projects.create(Project("small", "small", SMALL))
    order = GridOrder("look", ("a red ball",), (0.0, 0.5, 1.0), **changes)  # type: ignore[arg-type]
    return studio.checkpoint_grids.queue(studio.checkpoint_grids.prepare(order, "small"))


def test_every_checkpoint_is_queued_at_every_weight_and_the_base_once(trained: Settings, studio: Studio) -> None:
    grid = queued(studio)
    assert (grid.steps, grid.weights, grid.seed) == ([2, 4, 8], [0.0, 0.5, 1.0], 7)
    assert len(grid.cells) == 9 and len(grid.jobs) == 7  # without a LoRA all checkpoints are the same
    made = {job.id: job.request for job in studio.jobs.jobs()}
    assert {request.seed for request in made.values()} == {7}
    for cell in grid.cells:
        names = [(lora.name, lora.weight) for lora in made[cell.job].loras]
        assert names == ([] if not cell.weight else [("look" if cell.step == 8 else f"look-{cell.step}", cell.weight)])
    found = studio.checkpoint_grids.find("look")
    assert found == grid and studio.checkpoint_grids.find("look") is found, "read once"
    assert {found.job_of(cell.prompt, cell.step, cell.weight) for cell in grid.cells} == set(grid.jobs)
    assert found.job_of(0, 3, 1.0) == ""
    wider = GridOrder("look", ("a red ball",), (1.0, 2.0), (4,))
    prepared = studio.checkpoint_grids.prepare(wider, "small")
    assert len(prepared.prepared.clips) == 1, "the clip at weight 1 is known"


@pytest.mark.soak
def test_its_sheet_has_labelled_axes(trained: Settings, studio: Studio, tmp_path: Path) -> None:
    grid = queued(studio, steps=(4,))
    with pytest.raises(UserError, match="No clip of the grid of 'look' is done"):
        studio.checkpoint_grids.write_sheet("look", tmp_path / "sheet.png")
    with working(trained):
        pass
    assert set(studio.checkpoint_grids.clips(grid)) == set(grid.jobs)
    folders = [f"--workspace={trained.workspace}", f"--loras-folder={trained.loras}"]
    assert main(["trainings", "sheet", "look", "--output", str(tmp_path / "sheet.png"), *folders]) == 0
    with Image.open(tmp_path / "sheet.png") as sheet:
        labels = np.asarray(sheet.crop((230, 100, sheet.width, 134)))
        assert (labels != 255).any(), "the weights"
        assert (np.asarray(sheet.crop((60, 140, 220, 220))) != 255).any(), "the checkpoints"
        assert np.ptp(np.asarray(sheet)[200:400, 300:500]) > 40, "a clip"
    studio.checkpoint_grids.write_sheet("look", tmp_path / "wall.mp4")
    assert (tmp_path / "wall.mp4").stat().st_size > 1000


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"prompts": ()}, "no prompt"),
        ({"weights": ()}, "and 0 were given"),
        ({"weights": tuple(range(9))}, "1 to 8 weights"),
        ({"steps": (3,)}, "after step 3; choose of: 2, 4, 8"),
        ({"name": "gone"}, "No checkpoints are kept of a training 'gone'"),
        ({"prompts": tuple(map(str, range(40)))}, "at most 200"),
        ({"weights": (11.0,)}, "11"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_queued(
    trained: Settings, studio: Studio, changes: dict[str, object], says: str
) -> None:
    order = {"name": "look", "prompts": ("a red ball",), "weights": (0.5, 1.0)} | changes
    with pytest.raises(UserError, match=says):
        studio.checkpoint_grids.prepare(GridOrder(**order))  # type: ignore[arg-type]
    assert studio.jobs.jobs() == []
    assert [path.name for path in trained.loras.iterdir()] == ["look.safetensors"], "no checkpoint was copied"


def test_another_lora_of_the_name_is_not_taken_for_the_checkpoint(trained: Settings, studio: Studio) -> None:
    write_lora(trained.loras / "look-2.safetensors", 3)
    with pytest.raises(UserError, match="another LoRA 'look-2'"):
        queued(studio)


def test_the_command_queues_it_and_says_where_each_clip_stands(
    tmp_path: Path, tiny_demo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = make_folders(tmp_path, tiny_demo)
    write_lora(tmp_path / "workspace" / "training" / "look" / "look-2.safetensors", 2, base=MODEL)
    asked = ["trainings", "grid", "look", "--prompt", "a red ball", "--weights", "0,1", "--json"]
    assert main([*asked, *folders]) == 0
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert report["queued"] == 2 and report["seed"] == 7 and report["sheet"] is None
    assert [(cell["step"], cell["weight"]) for cell in report["cells"]] == [(2, 0.0), (2, 1.0)]
    assert [cell["job"] for cell in report["cells"]] == report["jobs"]
    assert main(["trainings", "grid", "look", "--prompt", "a", "--output", "a.jpg", *folders]) == 2


def test_weights_are_read_as_written() -> None:
    assert read_weights(" 0.5, 1,,2 ") == (0.5, 1.0, 2.0)
    with pytest.raises(UserError, match="weight 'x' is not a number"):
        read_weights("1, x")
