"""A training on a tiny model: what it writes, that it repeats itself, and that nothing stops it for good."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import WanPipeline, WanTransformer3DModel
from PIL import Image
from safetensors import safe_open

from tests.support import tiny
from tests.support.commands import MODEL, make_folders, started, wan
from tests.support.trainings import Watcher
from wan_pipeline.cli import main
from wan_pipeline.cli.training_line import TrainingLine
from wan_pipeline.engine.lora.adapters import AdapterHome, applied, read_weights
from wan_pipeline.errors import Cancelled, OutOfMemory, StorageError, UserError
from wan_pipeline.lora.check import match_adapters
from wan_pipeline.lora.library import LoraLibrary
from wan_pipeline.models.library import InstalledModel, ModelLibrary
from wan_pipeline.models.precision import Precision
from wan_pipeline.settings import Settings
from wan_pipeline.trainer import run as run_module
from wan_pipeline.trainer.dataset.folder import DatasetError, Item
from wan_pipeline.trainer.dataset.pixels import read_pixels
from wan_pipeline.trainer.experts import Trainable
from wan_pipeline.trainer.files.naming import NameTakenError
from wan_pipeline.trainer.files.output import Output
from wan_pipeline.trainer.files.state import ResumeError
from wan_pipeline.trainer.loop import Loop, NotFiniteError
from wan_pipeline.trainer.memory.choose import TrainingPlanner
from wan_pipeline.trainer.memory.plan import TrainingPlan
from wan_pipeline.trainer.preparation import encode as encode_module
from wan_pipeline.trainer.progress import TrainingProgress, TrainingStage
from wan_pipeline.trainer.request import TrainingRequest
from wan_pipeline.trainer.run import forecast_training, train
from wan_pipeline.trainer.trained import Trained

CPU = torch.device("cpu")
STEPS = 6
REPORTED = ["lora", "files", "steps", "loss", "validation_loss", "validation", "best_step", "hint", "checkpoints"]
REPORTED += ["seconds", "peak_memory_gib", "sha256"]


@pytest.fixture(scope="module")
def request_of(pictures: Path) -> TrainingRequest:
    return TrainingRequest(pictures, "look", steps=STEPS, rank=2)


@pytest.fixture(scope="module")
def whole(request_of: TrainingRequest, settings: Settings) -> tuple[Trained, list[TrainingProgress]]:
    """A training in one go, and what it told."""
    watcher = Watcher()
    return train(request_of, settings, watcher), watcher.told


def cancel(*_: object) -> None:
    raise Cancelled("The training was cancelled.")


def run(request: TrainingRequest, settings: Settings, stop_after: int = 1000) -> Trained:
    return train(request, settings, Watcher(stop_after))


def test_the_file_says_how_it_was_made(whole: tuple[Trained, list[TrainingProgress]], settings: Settings) -> None:
    trained, told = whole
    path = settings.loras / "look.safetensors"
    assert trained.lora.paths == (path,)
    assert trained.steps == STEPS
    assert 0 < trained.loss < 10
    assert trained.validation_loss is not None
    assert 0 < trained.peak_memory_gib < 8
    with safe_open(path, "pt") as file:
        metadata, keys = file.metadata(), list(file.keys())
    assert len(keys) == 2 * 10 * 3
    assert {key.partition(".")[0] for key in keys} == {"diffusion_model"}
    assert (metadata["base_model"], metadata["rank"], metadata["trigger"]) == ("demo", "2", "")
    assert json.loads(metadata["recipe"])["learning_rate"] == 3e-3
    receipt = json.loads(metadata["receipt"])
    assert (receipt["seed"], receipt["caption_dropout"], metadata["caption_dropout"]) == (1, 0.2, "0.2")
    assert {one.stage for one in told} == set(TrainingStage) - {TrainingStage.REGULARISING, TrainingStage.WAITING}
    assert [one.step for one in told if one.stage is TrainingStage.TRAINING] == list(range(1, STEPS + 1))
    on_the_way = sorted((settings.workspace / "training" / "look").iterdir())
    assert [one.name for one in on_the_way] == [f"look-{step}.safetensors" for step in (2, 3, 5)]


def test_the_seed_decides_the_weights(
    whole: tuple[Trained, list[TrainingProgress]], request_of: TrainingRequest, settings: Settings
) -> None:
    again = Watcher()
    assert train(replace(request_of, output="again"), settings, again).lora.sha256 == whole[0].lora.sha256
    assert TrainingStage.ENCODING not in {one.stage for one in again.told}  # from the cache
    others = [replace(request_of, output="other", seed=2), replace(request_of, output="word", trigger="moon")]
    assert whole[0].lora.sha256 not in {run(other, settings).lora.sha256 for other in others}


def test_stopped_and_resumed_it_gives_the_same_weights(
    whole: tuple[Trained, list[TrainingProgress]], request_of: TrainingRequest, settings: Settings
) -> None:
    parts = replace(request_of, output="parts")
    for stop in (1, 4):
        with pytest.raises(Cancelled):
            run(replace(parts, resume=stop > 1), settings, stop_after=stop)
    with pytest.raises(NameTakenError, match="--resume"):
        run(parts, settings)
    with pytest.raises(ResumeError, match="its seed has changed"):
        run(replace(parts, seed=2, resume=True), settings)
    resumed, wanted = run(replace(parts, resume=True), settings), whole[0]
    assert resumed.lora.sha256 == wanted.lora.sha256
    assert (resumed.steps, resumed.loss, resumed.validation_loss) == (STEPS, wanted.loss, wanted.validation_loss)
    with pytest.raises(NameTakenError, match="There is a LoRA 'parts'"):
        run(parts, settings)


class Meddler(Watcher):
    """Removes a picture and rewrites a caption of the dataset once a step is done."""

    def __init__(self, folder: Path, stop_after: int = 1000) -> None:
        super().__init__(stop_after)
        self._folder = folder

    def progress(self, progress: TrainingProgress) -> None:
        super().progress(progress)
        if progress.stage is TrainingStage.TRAINING:
            (self._folder / "1.png").unlink(missing_ok=True)
            (self._folder / "2.txt").write_text("another")


def test_a_dataset_that_changes_changes_no_training_that_has_begun(
    whole: tuple[Trained, list[TrainingProgress]], request_of: TrainingRequest, settings: Settings, tmp_path: Path
) -> None:
    folder = shutil.copytree(request_of.dataset, tmp_path / "own")
    asked = replace(request_of, dataset=folder, output="meddled")
    with pytest.raises(Cancelled):
        train(asked, settings, Meddler(folder, stop_after=1))
    with pytest.raises(ResumeError, match="its dataset has changed"):
        run(replace(asked, resume=True), settings)
    shutil.copytree(request_of.dataset, folder, dirs_exist_ok=True)
    resumed = train(replace(asked, resume=True), settings, Meddler(folder))
    assert resumed.lora.sha256 == whole[0].lora.sha256
    assert not (folder / "1.png").exists()


def test_a_picture_that_goes_or_changes_while_it_is_read_is_named(
    pictures: Path, request_of: TrainingRequest, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "0.png"
    shutil.copy(pictures / "0.png", path)
    asked = replace(request_of, dataset=tmp_path, output="never")
    check = run_module.prepare

    def gone(*rest: object) -> object:
        path.rename(tmp_path / "elsewhere")
        try:
            return check(*rest)  # type: ignore[arg-type]
        finally:
            (tmp_path / "elsewhere").rename(path)

    monkeypatch.setattr(run_module, "prepare", gone)
    with pytest.raises(DatasetError, match=r"0\.png could be read when the dataset was checked"):
        run(asked, settings)
    monkeypatch.undo()

    def changed(item: Item, *rest: object) -> object:
        Image.new("RGB", (320, 192), "red").save(item.path)
        return read_pixels(item, *rest)  # type: ignore[arg-type]

    Image.new("RGB", (320, 192), "blue").save(path)  # which no cache has latents of
    monkeypatch.setattr(encode_module, "read_pixels", changed)
    with pytest.raises(DatasetError, match=r"0\.png has changed while it was read"):
        run(asked, settings)


@pytest.mark.soak  # above the same in one process
def test_killed_and_interrupted_commands_go_on_where_they_were(pictures: Path, tmp_path: Path, tiny_demo: Path) -> None:
    (tmp_path / "few").mkdir()
    for number in range(2):
        shutil.copy(pictures / f"{number}.png", tmp_path / "few")
    folders = make_folders(tmp_path, tiny_demo)
    options = [*folders, "--model", MODEL, "--dataset", tmp_path / "few", "--rank", "2", "--steps", "6", "--json"]
    with started(tmp_path, "train", *options, "--output", "parts") as (process, stderr):
        for line in stderr:
            if line.startswith("training 1/"):
                os.kill(process.pid, signal.SIGINT)
        assert process.wait(60) == 130
    killed = wan("train", *options, "--output", "parts", "--resume", WAN_STUDIO_CRASH="checkpoint-saved:1")
    assert killed.returncode == -signal.SIGKILL
    resumed, whole = (
        wan("train", *options, *more) for more in (("--output", "parts", "--resume"), ("--output", "whole"))
    )
    reports = [json.loads(done.stdout.splitlines()[-1]) for done in (whole, resumed)]
    assert reports[0]["sha256"] == reports[1]["sha256"]
    assert list(reports[0]) == REPORTED
    assert Path(reports[1]["lora"]) == tmp_path / "loras" / "parts.safetensors"
    assert "training 6/6, loss " in resumed.stderr


def test_stock_diffusers_reads_every_key_to_the_same_effect(
    request_of: TrainingRequest, settings: Settings, tiny_demo: Path
) -> None:
    path = run(replace(request_of, output="strong", learning_rate=0.05), settings).lora.paths[0]
    inputs = {
        "hidden_states": torch.randn(1, 48, 2, 4, 4, generator=torch.Generator().manual_seed(0)),
        "timestep": torch.full((1, 8), 500.0),
        "encoder_hidden_states": torch.randn(1, 8, 32, generator=torch.Generator().manual_seed(1)),
        "return_dict": False,
    }
    folder = tiny_demo / "transformer"
    ours, theirs = (WanTransformer3DModel.from_pretrained(folder, dtype=torch.float32).eval() for _ in range(2))
    library = LoraLibrary(settings.loras)
    adapters = match_adapters(library.find("strong"), ModelLibrary(settings).find("demo"), 1.0, library.values)
    with torch.no_grad(), applied(ours, [read_weights(one, AdapterHome(CPU, torch.float32)) for one in adapters]):
        changed = ours(**inputs)[0]
    pipeline = WanPipeline(tokenizer=None, text_encoder=None, vae=None, scheduler=None, transformer=theirs)
    pipeline.load_lora_weights(path)
    with safe_open(path, "pt") as file:
        pairs = sum(key.endswith("lora_A.weight") for key in file.keys())  # noqa: SIM118
    assert sum(name.endswith("lora_A.default_0.weight") for name, _ in theirs.named_parameters()) == pairs
    with torch.no_grad():
        torch.testing.assert_close(theirs(**inputs)[0], changed, atol=1e-5, rtol=1e-4)
        pipeline.unload_lora_weights()
        assert (theirs(**inputs)[0] - changed).abs().max() > 1e-3


def test_two_experts_take_turns_and_give_a_pair(
    pictures: Path, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wan_pipeline.trainer.loop.SWAP_STEPS", 2)
    tiny.write_experts_text(settings.models / "wan2.2-t2v-a14b")
    shutil.copy(pictures / "1.png", tmp_path)
    asked = TrainingRequest(tmp_path, "pair", "wan2.2-t2v-a14b", steps=5, rank=2)
    whole = run(asked, settings)
    assert [path.name for path in whole.lora.paths] == ["pair_high_noise.safetensors", "pair_low_noise.safetensors"]
    assert LoraLibrary(settings.loras).find("pair").is_pair
    with pytest.raises(Cancelled):
        run(replace(asked, output="halves"), settings, stop_after=3)
    assert run(replace(asked, output="halves", resume=True), settings).lora.sha256 == whole.lora.sha256
    ups = []
    for path in whole.lora.paths:
        with safe_open(path, "pt") as file:
            ups.append(file.get_tensor("diffusion_model.blocks.1.ffn.2.lora_B.weight"))
    assert all(up.abs().max() > 0 for up in ups)
    assert not torch.equal(*ups)


def test_a_loss_that_is_no_number_stops_it_and_keeps_the_last_checkpoint(
    whole: tuple[Trained, list[TrainingProgress]],
    request_of: TrainingRequest,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    draw = Loop._draw

    def poisoned(loop: Loop, expert):
        noisy, text = draw(loop, expert)
        return (replace(noisy, velocity=noisy.velocity * math.nan) if loop.steps_done == 4 else noisy), text

    monkeypatch.setattr(Loop, "_draw", poisoned)
    with pytest.raises(NotFiniteError, match=r"Step 5 gave a loss that is not a number.*0\.003.*step 3"):
        run(replace(request_of, output="bad"), settings)
    kept = settings.workspace / "training" / "bad"
    assert {path.name for path in kept.iterdir()} == {"state.safetensors", "bad-2.safetensors", "bad-3.safetensors"}
    monkeypatch.undo()
    assert run(replace(request_of, output="bad", resume=True), settings).lora.sha256 == whole[0].lora.sha256


def test_a_full_disk_on_the_way_is_said_and_costs_nothing(
    request_of: TrainingRequest, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise StorageError("The disk of the folder is full; free some space.")

    monkeypatch.setattr("wan_pipeline.trainer.run.save_state", full)
    trained = run(replace(request_of, output="full"), settings)
    assert trained.steps == STEPS
    assert any("state after step 2 could not be saved: The disk" in warning for warning in trained.warnings)


def test_out_of_memory_goes_on_from_the_last_checkpoint_by_a_smaller_plan(
    whole: tuple[Trained, list[TrainingProgress]],
    request_of: TrainingRequest,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    draw, raised = Loop._draw, []

    def short(loop: Loop, expert):
        if loop.steps_done == 4 and not raised:
            raised.append(True)
            raise torch.OutOfMemoryError("out of memory")
        return draw(loop, expert)

    monkeypatch.setattr(Loop, "_draw", short)
    trained = run(replace(request_of, output="short"), settings)
    assert any("ran out of memory; from step 3 on: fp32 weights, activations" in one for one in trained.warnings)
    assert trained.lora.sha256 == whole[0].lora.sha256  # activations that are computed again are the same bits


def test_out_of_memory_again_before_a_checkpoint_goes_back_to_the_same_state(
    whole: tuple[Trained, list[TrainingProgress]],
    request_of: TrainingRequest,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    again = TrainingPlan(Precision.FP32, recomputes=True)
    smaller = TrainingPlan(Precision.FP32, small_factors=True), again, again
    draw, load, plans, failed, models = Loop._draw, run_module.load_trainable, iter(smaller), [], []

    def short(loop: Loop, expert):
        if loop.steps_done == 4 and len(failed) < 2:
            failed.append(loop.plan)
            models.append(weakref.ref(loop.model.experts[0].transformer))
            raise torch.OutOfMemoryError("out of memory")
        return draw(loop, expert)

    monkeypatch.setattr(Loop, "_draw", short)

    def load_one_at_a_time(model: InstalledModel, plan: TrainingPlan, *rest: Any) -> Trainable:
        assert all(loaded() is None for loaded in models)
        if plan.recomputes and len(failed) == 2:
            failed.append(plan)
            raise torch.OutOfMemoryError("out of memory")
        return load(model, plan, *rest)

    monkeypatch.setattr(run_module, "load_trainable", load_one_at_a_time)
    monkeypatch.setattr(TrainingPlanner, "smaller", lambda planner, _: planner._candidate(next(plans)))
    assert run(replace(request_of, output="twice"), settings).lora.sha256 == whole[0].lora.sha256
    assert failed == [TrainingPlan(Precision.FP32), *smaller[:2]]


def test_without_a_smaller_plan_it_says_what_is_kept(
    request_of: TrainingRequest, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def short(*_: object) -> None:
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(run_module, "load_trainable", short)
    with pytest.raises(OutOfMemory, match=r"by the smallest plan \(fp32 weights, activations.*Nothing was saved yet"):
        run(replace(request_of, output="none"), settings)


def test_a_pair_is_written_as_a_whole_or_not_at_all(settings: Settings) -> None:
    output, tensors = Output(settings, "both"), {"a": torch.zeros(2)}
    (blocked := settings.loras / "both_low_noise.safetensors").mkdir()
    with pytest.raises(StorageError):
        output.write_result({"high_noise": tensors, "low_noise": tensors}, {})
    assert not list(settings.loras.glob("both_high*"))
    blocked.rmdir()
    output.write_result({"high_noise": tensors, "low_noise": tensors}, {})
    with pytest.raises(NameTakenError, match="'both_high_noise'"):
        output.check(["high_noise", "low_noise"], resume=False)
    with pytest.raises(NameTakenError, match="'BOTH_high_noise'"):
        Output(settings, "BOTH").check(["high_noise", "low_noise"], resume=False)
    with pytest.raises(ResumeError, match="no unfinished training"):
        output.check(["high_noise", "low_noise"], resume=True)
    output.folder.mkdir(parents=True, exist_ok=True)
    output.state.write_bytes(b"")
    output.check(["high_noise", "low_noise"], resume=True)


def test_the_command_reports_as_json_and_says_where_it_was_stopped(
    pictures: Path, tiny_demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "one").mkdir()
    shutil.copy(pictures / "1.png", tmp_path / "one")
    folders = make_folders(tmp_path, tiny_demo)
    asked = ["train", *folders, "--model", MODEL, "--dataset", str(tmp_path / "one"), "--steps", "1", "--rank", "2"]
    assert main([*asked, "--output", "done", "--json"]) == 0
    assert list(json.loads(capsys.readouterr().out.splitlines()[-1])) == REPORTED
    monkeypatch.setattr(TrainingLine, "cancelled", lambda _: True)
    assert main([*asked, "--output", "early"]) == 130
    assert "stopped; nothing was trained yet." in capsys.readouterr().err
    monkeypatch.undo()
    do_step = Loop.do_step
    monkeypatch.setattr(Loop, "do_step", lambda loop, turns: cancel() if loop.steps_done else do_step(loop, turns))
    assert main([*asked, "--steps", "2", "--output", "later"]) == 130
    assert "stopped; the same command with --resume goes on." in capsys.readouterr().err


def test_every_option_of_the_command_reaches_the_training(
    pictures: Path, tiny_demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[TrainingRequest] = []

    def foreseen(request: TrainingRequest, *_: object) -> str:
        asked.append(request)
        return ""

    monkeypatch.setattr(run_module, "forecast_training", foreseen)
    changed = {
        "recipe": "motion-quick",
        "trigger": "wug",
        "regularisation": pictures,
        "regularisation_clips": 3,
        "steps": 5,
        "rank": 7,
        "learning_rate": 0.01,
        "accumulation": 2,
        "caption_dropout": 0.3,
        "seed": 9,
    }
    options = [f"--{name.replace('_', '-')}={value}" for name, value in changed.items()]
    flags = ["--resume", "--deterministic", "--forecast"]
    folders = make_folders(tmp_path, tiny_demo)
    assert main(["train", *folders, "--dataset", str(pictures), "--output", "all", *options, *flags]) == 0
    wanted = TrainingRequest(pictures, "all", resume=True, deterministic=True, **changed)
    assert asked == [wanted]
    plain = TrainingRequest(pictures, "all")
    assert not [name for name in changed if getattr(plain, name) == getattr(wanted, name)]


def test_a_forecast_trains_nothing(request_of: TrainingRequest, settings: Settings) -> None:
    candidate = forecast_training(replace(request_of, output="never"), settings, Watcher())
    assert candidate.fits
    memory = ["gib", "limit_gib", "host_gib", "dataset_gib"]
    assert list(candidate.to_dict()) == ["fits", "plan", *memory, "steps", "minutes"]
    assert 0 < candidate.minutes < 5
    assert not list(settings.loras.glob("never*"))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"output": "../x"}, "cannot be the name of a LoRA"),
        ({"output": "nul"}, "cannot be the name of a LoRA"),
        ({"recipe": "magic"}, "choose one of"),
        ({"steps": 0}, "steps"),
        ({"learning_rate": 7.0}, "learning_rate"),
        ({"caption_dropout": 1.5}, "caption_dropout"),
        ({"model": "wan9"}, "There is no model"),
        ({"dataset": Path("gone")}, "is not a folder"),
        ({"resume": True}, "no unfinished training"),
        ({"seed": -1}, "Seed -1"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_cannot_be_is_said_before_anything_is_loaded(
    changes: dict[str, object], says: str, request_of: TrainingRequest, settings: Settings
) -> None:
    with pytest.raises(UserError, match=says):
        run(replace(request_of, **{"output": "never"} | changes), settings)
    assert not list(settings.loras.glob("never*"))
