"""A training on a tiny model: what it writes, that it repeats itself, and that it goes on where it was."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import WanPipeline, WanTransformer3DModel
from PIL import Image
from safetensors import safe_open

from tests.support import tiny
from tests.support.trainings import STEPS, Watcher, run
from wan_pipeline.engine.lora.adapters import AdapterHome, applied, read_weights
from wan_pipeline.errors import Cancelled, UserError
from wan_pipeline.lora.check import match_adapters
from wan_pipeline.lora.library import LoraLibrary
from wan_pipeline.models.library import ModelLibrary
from wan_pipeline.settings import Settings
from wan_pipeline.trainer import run as run_module
from wan_pipeline.trainer.dataset.folder import DatasetError, Item
from wan_pipeline.trainer.dataset.pixels import read_pixels
from wan_pipeline.trainer.files.naming import NameTakenError
from wan_pipeline.trainer.files.state import ResumeError
from wan_pipeline.trainer.preparation import encode as encode_module
from wan_pipeline.trainer.progress import TrainingProgress, TrainingStage
from wan_pipeline.trainer.request import TrainingRequest
from wan_pipeline.trainer.run import forecast_training, train
from wan_pipeline.trainer.trained import Trained

CPU = torch.device("cpu")


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
    recipe, receipt = json.loads(metadata["recipe"]), json.loads(metadata["receipt"])
    assert (recipe["learning_rate"], recipe["caption_dropout"], receipt["seed"]) == (3e-3, 0.2, 1)
    assert "caption_dropout" not in {**metadata, **receipt}
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


@pytest.mark.soak
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
        ({"optimizer": "sgd"}, "optimizer"),
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
