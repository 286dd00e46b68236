"""The Train room, on a real studio: datasets, forecast, trainings and what comes of them."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from tests.clips.test_gallery import put
from tests.projects.test_checkpoint_grids import write_lora
from tests.support.files.pictures import write_pictures
from tests.support.pages import NAMES, NASTY, TEMPLATES, Reader, assert_harmless, page_links
from wan_pipeline.jobs.background.captions import CaptionsState, WrittenCaptions
from wan_pipeline.jobs.background.dataset_checks import check, key_of
from wan_pipeline.jobs.training.job import Point, TrainingResult, TrainingState
from wan_pipeline.jobs.training.trainer_queue import TrainerQueue
from wan_pipeline.planning.hardware import Hardware, save_hardware
from wan_pipeline.projects.checkpoint_grids import FILE, Cell, CheckpointGrid
from wan_pipeline.storage.database import Database
from wan_pipeline.studio import Studio
from wan_pipeline.trainer.request import TrainingRequest
from wan_pipeline.ui.common.events import Updates
from wan_pipeline.ui.common.templates import file_url
from wan_pipeline.ui.train.dataset_events import DatasetEvents
from wan_pipeline.ui.train.events import TrainEvents
from wan_pipeline.ui.train.layout import TrainLayout
from wan_pipeline.ui.train.shown import TrainView

GIB = 2**30


class Tab:
    """A browser tab that shows the room: it keeps what it shows."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio
        with gr.Blocks() as page:
            self.layout = TrainLayout()
            self.links = page_links(page, studio)
        view = TrainView(studio, TEMPLATES, NAMES, self.layout, self.links)
        self.events = TrainEvents(studio, TEMPLATES, self.layout, view, self.links)
        self.data = DatasetEvents(studio, TEMPLATES, self.layout, view, self.links)
        own = (self.layout.find, self.layout.put, self.layout.add, self.layout.captioner)
        boxes = {*self.layout.inputs, *self.events.act_inputs, *own}
        self.values: dict[Any, Any] = {box: box.value for box in boxes}
        self.keep(self.events.enter(self.values))

    def text(self, part: str) -> str:
        return Reader(self.values.get(getattr(self.layout, part)) or "").text

    def fill(self, **values: Any) -> None:
        self.values |= {getattr(self.layout, name): value for name, value in values.items()}

    def click(self, act: str, subject: str = "", text: str = "", on: Any = None) -> Updates:
        event = gr.EventData(None, {"act": act, "clip": subject, "text": text})
        return self.keep((on or self.events).act(self.values, event))

    def keep(self, updates: Updates) -> Updates:
        chosen = {box: value.value for box, value in updates.items() if isinstance(value, gr.Dropdown) and value.value}
        plain = {box: value for box, value in updates.items() if isinstance(value, str | int | dict)} | chosen
        self.values |= {box: value for box, value in plain.items() if not _is_skipped(value)}
        return updates

    def checked(self) -> None:
        """As when the process that checks has ended."""
        key = key_of(self.studio.datasets.items("look"), "demo", "style")
        check(self.studio.settings, "look", "demo", "style", key)
        self.keep(self.events.refresh(self.values))


def _is_skipped(value: object) -> bool:
    return isinstance(value, dict) and "__type__" in value


@pytest.fixture
def tab(studio: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tab:
    monkeypatch.setattr(studio.dataset_checks, "start", lambda *_: False)  # `checked` does it here
    studio.datasets.add("look", sorted(write_pictures(tmp_path / "files", 5).iterdir()))
    return Tab(studio)


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


def test_a_dataset_is_checked_and_forecast_before_train(tab: Tab, studio: Studio) -> None:
    assert "Checking the dataset" in tab.text("report") and tab.text("estimate") == ""
    tab.checked()
    assert "5 images, 0 clips" in tab.text("report") and "only stills" in tab.text("report")
    assert "Contact sheet" in tab.text("report") and "duplicate" not in tab.text("grid")
    assert tab.text("estimate").startswith("80 steps")  # as long as the hardware is not known
    save_hardware(Hardware("cpu", "", 0, 0, 16 * GIB, 12 * GIB), studio.settings.cache)
    tab.fill(prompts="a red ball", steps="20")
    tab.keep(tab.events.refresh(tab.values))
    assert "Fits: " in tab.text("estimate") and "20 steps" in tab.text("estimate")
    assert "of samples" in tab.text("estimate")
    tab.fill(steps="-3")
    tab.keep(tab.events.refresh(tab.values))
    assert "'-3' is not a whole number" in tab.text("estimate")
    for dropout, says in (("0.3", "30 % of examples"), ("", "20 % of examples")):
        tab.fill(steps="", dropout=dropout)
        tab.keep(tab.events.refresh(tab.values))
        assert says in tab.text("recipe_words")
    tab.fill(dropout="often")
    tab.keep(tab.events.refresh(tab.values))
    assert "'often' is not a number" in tab.text("estimate")


def test_captions_are_edited_replaced_and_their_pictures_removed(tab: Tab, studio: Studio) -> None:
    tab.click("caption", "0.png", NASTY, on=tab.data)
    assert_harmless(tab.values[tab.layout.grid])
    tab.fill(find="red ball", put="blue fish")
    tab.keep(tab.data.replace(tab.values))
    assert "4 captions changed" in tab.text("toast") and "a blue fish at night 3" in tab.text("grid")
    tab.click("remove-item", "1.png", on=tab.data)
    assert "1.png" not in tab.text("grid") and len(studio.datasets.items("look")) == 4
    tab.click("remove-item", "../x.png", on=tab.data)
    assert "any more" in tab.text("toast")


def test_what_is_wrong_with_a_picture_stands_beside_it(tab: Tab, studio: Studio, tmp_path: Path) -> None:
    copy = tmp_path / "copy.png"
    copy.write_bytes((tmp_path / "files" / "1.png").read_bytes())
    studio.datasets.add("look", [copy])
    tab.checked()
    assert tab.text("grid").count("duplicate") == 1 and "copy.png · blurred, duplicate" in " ".join(
        tab.text("grid").split()
    )


def test_files_and_starred_clips_go_into_the_dataset(tab: Tab, studio: Studio, tmp_path: Path) -> None:
    more = write_pictures(tmp_path / "more", 6) / "5.png"
    tab.fill(upload=[str(more)])
    tab.keep(tab.data.add_files(tab.values))
    assert "1 file added" in tab.text("toast") and "5.png" in tab.text("grid")
    tab.keep(tab.data.add_clips(tab.values))
    assert "no starred clip" in tab.text("toast")


def test_train_queues_what_the_form_holds(tab: Tab, studio: Studio) -> None:
    tab.fill(
        name=" my look ",
        trigger="ohwx  moon",
        steps="20",
        dropout="0,3",
        seed="7",
        clips="2",
        prompts="a red ball\n\na blue fish",
    )
    updates = tab.keep(tab.events.train(tab.values))
    job = studio.trainings.all()[0]
    folder = studio.settings.datasets / "look"
    assert job.request == TrainingRequest(
        folder, "my look", trigger="ohwx moon", seed=7, steps=20, caption_dropout=0.3, regularisation_clips=2
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


def test_tags_are_counted_filtered_added_and_removed(tab: Tab, studio: Studio) -> None:
    studio.datasets.write_caption("look", "0.png", f"Fog, {NASTY}")
    tab.keep(tab.events.refresh(tab.values))
    assert "<script" not in tab.values[tab.layout.tags]
    assert "ball 4" in tab.text("tags") and "fog 1" in tab.text("tags")
    tab.click("tag", text="fog", on=tab.data)
    assert "1 caption with fog" in tab.text("tags") and tab.values[tab.layout.grid].count("caption-card") == 1
    tab.fill(add="moon")
    tab.keep(tab.data.add_tag(tab.values))
    assert studio.datasets.items("look")[0].caption.endswith(", moon")
    assert "1 caption changed" in tab.text("toast")
    tab.click("remove-tag", text="fog", on=tab.data)
    assert "Fog" not in studio.datasets.items("look")[0].caption
    assert tab.values[tab.layout.grid].count("caption-card") == 5


def test_only_models_in_the_cache_write_captions(tab: Tab, studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    assert tab.events.enter(tab.values)[tab.layout.captioning].visible is False
    monkeypatch.setattr("wan_pipeline.ui.train.events.captioners", lambda: ["a/one", "b/two"])
    assert tab.events.enter(tab.values)[tab.layout.captioner].value == "a/one"
    tab.fill(captioner="b/two")
    assert tab.events.enter(tab.values)[tab.layout.captioner].value == "b/two"
    tab.fill(captioner="../elsewhere")
    tab.keep(tab.data.write_captions(tab.values))
    assert "no model in the Hugging Face cache" in tab.text("toast")
    tab.checked()
    writing = WrittenCaptions(CaptionsState.WRITING, 2, 5)
    monkeypatch.setattr(studio.captions, "of", lambda _: writing)
    tab.keep(tab.events.refresh(tab.values))
    assert "Writing captions: 2 of 5" in tab.text("report")


def test_a_long_dataset_is_shown_a_page_at_a_time(tab: Tab, studio: Studio, tmp_path: Path) -> None:
    studio.datasets.add("look", sorted(write_pictures(tmp_path / "many", 26).iterdir()))
    tab.keep(tab.data.choose(tab.values))
    assert tab.values[tab.layout.grid].count("caption-card") == 24
    tab.click("next", on=tab.data)
    assert tab.values[tab.layout.grid].count("caption-card") == 7
    tab.fill(dataset="../elsewhere")
    tab.keep(tab.data.choose(tab.values))
    assert "cannot be the name of a dataset" in tab.text("report")


def test_a_model_that_cannot_be_trained_is_not_offered(tab: Tab) -> None:
    assert [value for _, value in tab.events.enter(tab.values)[tab.layout.model].choices] == ["demo"]
