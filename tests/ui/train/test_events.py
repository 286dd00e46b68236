"""The Train room, on a real studio: trainings and what comes of them."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from tests.projects.test_checkpoint_grids import write_lora
from tests.support.files.clips import put
from tests.support.pages import NASTY, Reader, assert_harmless
from tests.ui.train.tab import Tab
from wan_pipeline.jobs.training.job import Point, TrainingResult, TrainingState
from wan_pipeline.jobs.training.trainer_queue import TrainerQueue
from wan_pipeline.projects.checkpoint_grids import FILE, Cell, CheckpointGrid
from wan_pipeline.storage.database import Database
from wan_pipeline.studio import Studio
from wan_pipeline.trainer.request import TrainingRequest
from wan_pipeline.ui.common.templates import file_url


def queue_of(studio: Studio) -> TrainerQueue:
    return TrainerQueue(Database(studio.settings.database))


def done(studio: Studio, name: str = "mine") -> str:
    """A training that is over."""
    training_id = studio.trainings.submit(
        TrainingRequest(studio.datasets.folder("look"), name, trigger="ohwx", steps=9)
    )
    queue = queue_of(studio)
    queue.claim()
    points = [Point(1, 1.5, 1e-3, None), Point(2, 1.2, 1e-3, 0.9), Point(9, 0.5, 1e-4, 1.1)]
    queue.progress(training_id, points, stage="training", step=9, total=9)
    queue.finish(training_id, TrainingResult(name, 9, 0.5, 1.1, 60.0, 1.5, "ab"), ["It was cold."])
    (studio.settings.loras / f"{name}.safetensors").touch()
    return training_id


def test_train_queues_what_the_form_holds(tab: Tab, studio: Studio) -> None:
    tab.fill(
        name=" my look ",
        trigger="ohwx  moon",
        steps="20",
        dropout="0,3",
        optimizer="adamw",
        seed="7",
        clips="2",
        prompts="a red ball\n\na blue fish",
    )
    updates = tab.keep(tab.events.train(tab.values))
    job = studio.trainings.all()[0]
    folder = studio.settings.datasets / "look"
    assert job.request == TrainingRequest(
        folder,
        "my look",
        trigger="ohwx moon",
        seed=7,
        steps=20,
        caption_dropout=0.3,
        optimizer="adamw",
        regularisation_clips=2,
    )
    assert job.prompts == ("a red ball", "a blue fish")
    assert updates[tab.layout.name] == "" and "Training my look" in tab.text("now")
    assert "Waiting until the queue is idle" in tab.text("now") and "waiting" in tab.text("list")
    tab.fill(name="my look")
    tab.keep(tab.events.train(tab.values))
    assert "There is a training 'my look' already" in tab.text("notice")
    tab.click("cancel-training", job.id)
    assert studio.trainings.existing(job.id).state is TrainingState.CANCELLED and tab.text("now") == ""
    tab.click("retry-training", job.id)
    assert studio.trainings.existing(job.id).state is TrainingState.WAITING


def test_a_training_is_followed_live(tab: Tab, studio: Studio) -> None:
    training_id = studio.trainings.submit(TrainingRequest(studio.datasets.folder("look"), "mine", steps=9))
    queue = queue_of(studio)
    queue.claim()
    points = [Point(step, 1 / step, 1e-3, None) for step in range(1, 5)]
    columns = {"eta_seconds": 65.0, "step_seconds": 0.5, "memory_gib": 4.5, "note": "int8 weights"}
    queue.progress(training_id, points, stage="training", step=4, total=9, **columns)
    tab.keep(tab.events.refresh(tab.values))
    assert "1 min left" in tab.text("now") and "4 of 9" in tab.text("now")
    assert "0.50 s a step · 4.5 GiB · int8 weights" in tab.text("live") and "polyline" in tab.values[tab.layout.live]
    assert list(tab.events.refresh(tab.values)) == [tab.layout.shown]  # nothing has changed
    queue.fail(training_id, f"It went wrong {NASTY}")
    tab.keep(tab.events.refresh(tab.values))
    assert_harmless(tab.values[tab.layout.list])


def test_use_puts_the_lora_and_its_trigger_into_the_form(tab: Tab, studio: Studio) -> None:
    training_id = done(studio)
    tab.keep(tab.events.refresh(tab.values))
    assert "lowest at step 2" in tab.text("list") and "It was cold." in tab.text("list")
    updates = tab.click("use", training_id)
    assert "ohwx" in str(updates) and "mine" in str(updates)
    (studio.settings.loras / "mine.safetensors").unlink()
    tab.click("use", training_id)
    assert "There is no LoRA 'mine'" in tab.text("toast")
    tab.click("remove-training", training_id)
    assert studio.trainings.all() == []


@pytest.mark.soak
def test_use_in_the_open_project(tab: Tab, studio: Studio) -> None:
    training_id = done(studio)
    project = studio.projects.ensure("Kite film")[0]
    tab.values[tab.links.project] = project.id
    for _ in range(2):
        tab.click("project-lora", training_id)
    setup = studio.projects.existing(project.id).setup
    assert [lora.name for lora in setup.loras or ()] == ["mine"]


def test_a_checkpoint_is_taken_into_the_folder(tab: Tab, studio: Studio) -> None:
    training_id = done(studio)
    folder = studio.settings.trainings / "mine"
    folder.mkdir(parents=True)
    for name, step in (("mine-4_high_noise", 4), ("mine-4_low_noise", 4), ("mine-45", 45)):
        write_lora(folder / f"{name}.safetensors", step)
    updates = tab.click("take", training_id, "4")
    assert "mine-4" in str(updates)
    taken = sorted(path.name for path in studio.settings.loras.glob("mine-*"))
    assert taken == ["mine-4_high_noise.safetensors", "mine-4_low_noise.safetensors"]
    tab.click("take", training_id, "x")
    assert "no checkpoint of step 0" in tab.text("toast")


def test_checkpoints_are_compared_by_weights(tab: Tab, studio: Studio) -> None:
    training_id = done(studio)
    write_lora(studio.settings.trainings / "mine" / "mine-4.safetensors", 4)
    tab.keep(tab.events.refresh(tab.values))
    assert "Compare checkpoints" in tab.text("list")
    assert "compare-checkpoints" in Reader(tab.values[tab.layout.list]).acts
    tab.click("compare-checkpoints", training_id)
    assert "ohwx" in tab.text("over") and "0.5, 1" in tab.values[tab.layout.over]
    tab.click("queue-grid", training_id, json.dumps({"prompts": NASTY, "weights": "many"}))
    assert "is not a number" in tab.text("over")
    assert_harmless(tab.values[tab.layout.over])
    tab.click("queue-grid", training_id, json.dumps({"prompts": "a red ball", "weights": "0, 1", "steps": "4"}))
    assert tab.text("over") == "" and "2 clips added to the queue" in tab.text("toast")
    assert "step 4" in tab.text("list") and "2 clips of this grid are not there yet" in tab.text("list")
    tab.click("queue-grid", training_id, json.dumps({"prompts": "a red ball", "weights": "0, 2", "steps": "4"}))
    assert "1 clip added to the queue; 1 clip of the grid is there already" in tab.text("toast")
    tab.click("grid-sheet", training_id)
    assert "No clip of the grid of 'mine' is done yet" in tab.text("toast")


def test_a_grid_shows_clips_where_they_are_and_looks_them_up_when_the_database_has_changed(
    tab: Tab, studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    done(studio)
    put(studio.settings.clips, "a")
    studio.gallery.rescan()
    clip = studio.gallery.clip("job-a")
    grid = CheckpointGrid("mine", ("a red ball",), 1, (Cell(0, 2, 0.5, clip.id), Cell(0, 2, 1.0, "")))
    studio.settings.trainings.joinpath("mine").mkdir(parents=True, exist_ok=True)
    (studio.settings.trainings / "mine" / FILE).write_text(json.dumps(asdict(grid)))
    looked: list[str] = []
    real = studio.checkpoint_grids.clips
    monkeypatch.setattr(studio.checkpoint_grids, "clips", lambda grid: looked.append(grid.name) or real(grid))
    tab.keep(tab.events.refresh(tab.values))
    assert file_url(clip.path) in tab.values[tab.layout.list]
    tab.keep(tab.events.refresh(tab.values))
    assert looked == ["mine"]
    studio.gallery.bin([clip.id])
    tab.keep(tab.events.refresh(tab.values))
    assert looked == ["mine", "mine"]


def test_a_model_that_cannot_be_trained_is_not_offered(tab: Tab) -> None:
    assert [value for _, value in tab.events.enter(tab.values)[tab.layout.model].choices] == ["demo"]
