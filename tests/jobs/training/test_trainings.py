"""Trainings as jobs: in order, giving way to the queue, and to the same weights whatever comes between."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread

import pytest
from filelock import FileLock

from tests.support.files.pictures import write_pictures
from tests.support.hostile import BAD_JSON
from tests.support.queues import OpenQueue
from tests.support.studios import PATIENCE, QUICK, wait_for
from tests.support.trainings import JOB_STEPS, Watcher, of
from wan_pipeline.errors import StorageError, UserError
from wan_pipeline.jobs import device
from wan_pipeline.jobs.training import foreground
from wan_pipeline.jobs.training.foreground import train_now
from wan_pipeline.jobs.training.job import TrainingJob, TrainingState
from wan_pipeline.jobs.training.process import train_next
from wan_pipeline.jobs.training.samples import checkpoints_of, samples_of
from wan_pipeline.jobs.training.trainer_queue import MAX_DEATHS, TrainerQueue
from wan_pipeline.settings import Settings
from wan_pipeline.storage.database import Database
from wan_pipeline.storage.locks import WorkspaceLocks
from wan_pipeline.studio import Studio
from wan_pipeline.trainer.files.output import Output
from wan_pipeline.trainer.progress import TrainingProgress, TrainingStage


@contextmanager
def training(settings: Settings, stopping: Event | None = None) -> Iterator[Thread]:
    """As in the process of its own, which holds the lock."""

    def run() -> None:
        with WorkspaceLocks(settings.workspace).trainer():
            train_next(settings, stopping)

    thread = Thread(target=run, daemon=True)
    thread.start()
    yield thread
    thread.join(PATIENCE)
    assert not thread.is_alive()


def job(studio: Studio, training_id: str) -> TrainingJob:
    return studio.trainings.existing(training_id)


def wait_for_steps(studio: Studio, training_id: str) -> None:
    wait_for(lambda: (now := job(studio, training_id)).stage == "training" and now.step > 0, "steps")


def test_a_training_is_done_and_its_row_tells_all_of_it(studio: Studio, pictures: Path, wanted: str) -> None:
    training_id = studio.trainings.submit(of(pictures))
    assert job(studio, training_id).state is TrainingState.WAITING
    assert train_next(studio.settings) is TrainingState.DONE
    done = job(studio, training_id)
    assert done.result is not None and done.result.sha256 == wanted
    assert (done.result.lora, done.result.steps, done.step, done.total) == ("look", JOB_STEPS, JOB_STEPS, JOB_STEPS)
    assert done.memory_gib and done.step_seconds and done.finished_at and "fp32" in done.note
    points = studio.trainings.points(training_id)
    assert [point.step for point in points] == list(range(JOB_STEPS + 1))
    assert all(point.loss and point.rate is not None for point in points[1:])
    assert [point.step for point in points if point.validation] == [0, 10, 20, 30, 40]
    assert len(studio.trainings.points(training_id, limit=10)) < 20
    assert list(checkpoints_of(studio.settings, "look")) == [10, 20, 30]
    assert studio.loras.find("look") and train_next(studio.settings) is None


@pytest.mark.soak
def test_it_gives_way_to_clips_and_goes_on_to_the_same_weights(studio: Studio, pictures: Path, wanted: str) -> None:
    training_id = studio.trainings.submit(of(pictures))
    with training(studio.settings):
        wait_for_steps(studio, training_id)
        clip = studio.submit(QUICK)
    paused = job(studio, training_id)
    assert paused.state is TrainingState.PAUSED and 0 < paused.step < JOB_STEPS
    assert train_next(studio.settings) is None  # the clip waits still
    with WorkspaceLocks(studio.settings.workspace).device():
        assert OpenQueue(studio.settings.database).worker.claim().id == clip
    OpenQueue(studio.settings.database).worker.fail(clip, "a test ends it")
    assert train_next(studio.settings) is TrainingState.DONE
    assert job(studio, training_id).result.sha256 == wanted


def test_what_a_person_waits_for_goes_first_and_a_paused_queue_lets_it_train(studio: Studio, pictures: Path) -> None:
    studio.trainings.submit(replace(of(pictures), steps=2))
    studio.submit(QUICK)
    studio.queue.pause_queue()
    for guest in WorkspaceLocks(studio.settings.workspace).short_guests():
        with guest:
            assert train_next(studio.settings) is None
    assert train_next(studio.settings) is TrainingState.DONE


@pytest.mark.soak
def test_cancelled_it_keeps_its_state_and_may_be_tried_again(studio: Studio, pictures: Path, wanted: str) -> None:
    training_id = studio.trainings.submit(of(pictures))
    with training(studio.settings):
        wait_for_steps(studio, training_id)
        studio.trainings.cancel(training_id)
    assert job(studio, training_id).state is TrainingState.CANCELLED
    assert train_next(studio.settings) is None
    studio.trainings.retry(training_id)
    assert train_next(studio.settings) is TrainingState.DONE
    assert job(studio, training_id).result.sha256 == wanted
    waiting = studio.trainings.submit(of(pictures, "other"))
    studio.trainings.cancel(waiting)
    assert job(studio, waiting).state is TrainingState.CANCELLED


def test_a_machine_that_shuts_down_pauses_it(studio: Studio, pictures: Path) -> None:
    training_id, stopping = studio.trainings.submit(of(pictures)), Event()
    with training(studio.settings, stopping):
        wait_for_steps(studio, training_id)
        stopping.set()
    assert job(studio, training_id).state is TrainingState.PAUSED


def test_what_has_begun_goes_before_what_waits(studio: Studio, pictures: Path) -> None:
    first, second = (studio.trainings.submit(of(pictures, name)) for name in ("one", "two"))
    queue = TrainerQueue(Database(studio.settings.database))
    assert queue.claim().id == first
    queue.pause(first)
    assert queue.claim().id == first
    queue.fail(first, "a test ends it")
    assert queue.claim().id == second
    assert [each.name for each in studio.trainings.all()] == ["two", "one"]


def test_the_sentence_of_a_failure_is_kept(studio: Studio, pictures: Path, tmp_path: Path) -> None:
    broken = write_pictures(tmp_path / "broken", 2)
    training_id = studio.trainings.submit(of(broken))
    for path in broken.glob("*.png"):
        path.write_bytes(b"no picture")
    assert train_next(studio.settings) is TrainingState.FAILED
    assert "None of the 2 files" in str(job(studio, training_id).error)


def test_one_that_kills_its_process_again_and_again_fails(studio: Studio, pictures: Path) -> None:
    training_id = studio.trainings.submit(of(pictures))
    queue = TrainerQueue(Database(studio.settings.database))
    for deaths in range(MAX_DEATHS):
        assert queue.claim().deaths == deaths  # and dies
    assert queue.claim() is None
    failed = job(studio, training_id)
    assert failed.state is TrainingState.FAILED and "died 3 times" in str(failed.error)


@pytest.mark.soak
def test_one_that_died_when_its_lora_was_written_is_done(studio: Studio, pictures: Path, wanted: str) -> None:
    training_id = studio.trainings.submit(of(pictures))
    assert train_next(studio.settings) is TrainingState.DONE
    with Database(studio.settings.database).transaction() as connection:
        connection.execute("UPDATE trainings SET state = 'training', result = '', finished_at = NULL")
    assert train_next(studio.settings) is TrainingState.DONE
    assert (job(studio, training_id).result.steps, job(studio, training_id).result.lora) == (JOB_STEPS, "look")


@pytest.mark.soak
def test_samples_show_every_checkpoint_beside_the_base(studio: Studio, pictures: Path, wanted: str) -> None:
    training_id = studio.trainings.submit(of(pictures), ["a red ball", "a blue fish"])
    assert train_next(studio.settings) is TrainingState.DONE
    assert job(studio, training_id).result.sha256 == wanted
    samples = samples_of(studio.settings, "look")
    assert [(each.step, each.number) for each in samples] == [(s, n) for s in (0, 10, 20, 30, 40) for n in (0, 1)]
    assert all(each.poster.is_file() for each in samples)
    assert [each.motion for each in samples[:2]] == [1.0, 1.0] and all(each.motion for each in samples)
    assert studio.gallery.newest_posters() == {}


@pytest.mark.soak
def test_what_it_told_before_it_stopped_for_samples_is_kept(
    studio: Studio, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Output.write_checkpoint

    def full_at_first(output: Output, step: int, *of_file: object) -> None:
        if step == 1:
            raise StorageError("The disk is full.")
        write(output, step, *of_file)

    monkeypatch.setattr(Output, "write_checkpoint", full_at_first)
    training_id = studio.trainings.submit(replace(of(pictures), steps=4), ["a red ball"])
    assert train_next(studio.settings) is TrainingState.DONE
    assert sum("after step 1 could not be saved" in each for each in job(studio, training_id).warnings) == 1


class Waiting(Watcher):
    """Frees the device once it is waited for, and asks for a clip after some steps."""

    def __init__(self, studio: Studio, held: FileLock) -> None:
        super().__init__()
        self.studio, self.held, self.clip = studio, held, ""

    def progress(self, progress: TrainingProgress) -> None:
        super().progress(progress)
        if progress.stage is TrainingStage.WAITING:
            self.held.release()
            if self.clip:
                self.studio.queue.cancel(self.clip)
        elif progress.stage is TrainingStage.TRAINING and progress.step == 5 and not self.clip:
            self.clip = self.studio.submit(QUICK)


@pytest.mark.soak
def test_in_the_foreground_it_waits_for_the_device_and_gives_way_to_clips(
    studio: Studio, pictures: Path, wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (foreground, device):
        monkeypatch.setattr(module, "POLL_SECONDS", 0.01)
    held = WorkspaceLocks(studio.settings.workspace).device()
    held.acquire()
    observer = Waiting(studio, held)
    assert train_now(of(pictures), studio.settings, observer).lora.sha256 == wanted
    stages = [told.stage for told in observer.told]
    assert stages[0] is TrainingStage.WAITING
    assert TrainingStage.WAITING in stages[stages.index(TrainingStage.TRAINING) :], "the clip had the device"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"output": "a/b"}, "cannot be the name"),
        ({"output": "taken"}, "There is a LoRA 'taken'"),
        ({"output": "Queued"}, "There is a training 'Queued' already"),
        ({"output": "left"}, "There are files of a training 'left'"),
        ({"seed": -1}, "out of range"),
        ({"recipe": "none"}, "no recipe 'none'"),
        ({"steps": 0}, "steps"),
        ({"model": "none"}, "none"),
        ({"dataset": Path("nowhere")}, "is not a folder"),
    ],
)
def test_what_is_wrong_is_said_at_once(
    studio: Studio, pictures: Path, changes: dict[str, object], sentence: str
) -> None:
    (studio.settings.loras / "taken.safetensors").touch()
    left = studio.settings.trainings / "left"
    left.mkdir(parents=True)
    (left / "left-5.safetensors").touch()
    studio.trainings.submit(of(pictures, "queued"))
    with pytest.raises(UserError, match=sentence):
        studio.trainings.submit(replace(of(pictures), **changes))
    (studio.settings.loras / "other-20.safetensors").touch()  # taken from an earlier training of that name
    with pytest.raises(UserError, match="There is a LoRA 'other-20'"):
        studio.trainings.submit(of(pictures, "other"))
    with pytest.raises(UserError, match="5 prompts"):
        studio.trainings.submit(of(pictures), ["a"] * 5)


def test_removed_it_leaves_only_its_lora(studio: Studio, pictures: Path) -> None:
    training_id = studio.trainings.submit(replace(of(pictures), steps=4))
    with pytest.raises(UserError, match="cancel it first"):
        studio.trainings.remove(training_id)
    train_next(studio.settings)
    studio.trainings.remove(training_id)
    assert studio.trainings.all() == [] and studio.trainings.points(training_id) == []
    assert not (studio.settings.trainings / "look").exists() and studio.loras.find("look")


@pytest.mark.parametrize("text", BAD_JSON.values(), ids=BAD_JSON)
def test_a_row_that_cannot_be_read_breaks_no_list(studio: Studio, pictures: Path, text: bytes) -> None:
    training_id = studio.trainings.submit(of(pictures))
    stored = text.decode("utf-8", "replace")
    with Database(studio.settings.database).transaction() as connection:
        connection.execute("UPDATE trainings SET request = ?, prompts = ?, warnings = ?, result = ?", (stored,) * 4)
    assert studio.trainings.all()[0].name == "look"
    assert train_next(studio.settings) is None
    assert "cannot be read" in str(job(studio, training_id).error)


def test_a_request_comes_back_as_it_was(studio: Studio, pictures: Path) -> None:
    request = replace(of(pictures), trigger="moon", learning_rate=0.01, deterministic=True)
    training_id = studio.trainings.submit(request)
    assert job(studio, training_id).request == request
    with Database(studio.settings.database).connection() as connection:
        stored = connection.execute("SELECT request FROM trainings").fetchone()["request"]
    assert json.loads(stored)["dataset"] == str(pictures)
