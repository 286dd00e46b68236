"""Checkpoints of a training: listed with their losses, used as LoRAs, and what the losses say of them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch

from tests.support.trainings import Watcher
from wan_pipeline.cli import main
from wan_pipeline.errors import UserError
from wan_pipeline.lora.library import LoraLibrary
from wan_pipeline.settings import Settings
from wan_pipeline.trainer.files.checkpoints import checkpoints, trainings, use
from wan_pipeline.trainer.files.output import NameTakenError, Output
from wan_pipeline.trainer.request import TrainingRequest
from wan_pipeline.trainer.run import train
from wan_pipeline.trainer.trained import Trained
from wan_pipeline.trainer.validation import advice, best_step

STEPS = 4


@pytest.fixture(scope="module")
def trained(pictures: Path, settings: Settings) -> Trained:
    return train(TrainingRequest(pictures, "steps", steps=STEPS, rank=2), settings, Watcher())


def test_every_checkpoint_is_listed_with_its_losses(trained: Trained, settings: Settings) -> None:
    found = checkpoints(settings, "steps")
    assert tuple(found) == trained.checkpoints
    assert [(one.step, one.is_result) for one in found] == [(1, False), (2, False), (3, False), (STEPS, True)]
    assert [step for step, _ in trained.validation] == [0, 1, 2, 3, STEPS]
    for one in found:
        assert one.loss is not None
        assert one.validation_loss == pytest.approx(dict(trained.validation)[one.step], abs=1e-6)
    assert found[-1].paths == trained.lora.paths
    assert trained.validation_loss == trained.validation[-1][1]
    assert "steps" in trainings(settings)


def test_a_checkpoint_becomes_a_lora(trained: Trained, settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    folders = [f"--workspace={settings.workspace}", f"--loras-folder={settings.loras}"]
    assert main(["trainings", "use", "steps", "2", *folders]) == 0
    lora = LoraLibrary(settings.loras).find("steps-2")
    assert capsys.readouterr().out.split() == [str(lora.paths[0])]
    assert lora.paths[0].read_bytes() == trained.checkpoints[1].paths[0].read_bytes()
    assert use(settings, "steps", 2) == lora.paths
    (settings.loras / "Steps-3.safetensors").write_bytes(lora.paths[0].read_bytes())
    with pytest.raises(NameTakenError, match="another LoRA 'Steps-3'"):
        use(settings, "steps", 3)
    with pytest.raises(UserError, match="after step 7; choose one of: 1, 2, 3"):
        use(settings, "steps", 7)
    assert main(["trainings", "list", "steps", "--json", *folders]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [(one["name"], one["step"]) for one in listed][:2] == [("steps-1", 1), ("steps-2", 2)]
    assert main(["trainings", "list", "steps", *folders]) == 0
    assert re.search(r"step 4: loss \d\.\d{4}, validation \d\.\d{4} \(the LoRA\)", capsys.readouterr().out)
    assert main(["trainings", "list", *folders]) == 0
    assert "steps" in capsys.readouterr().out.split()
    assert main(["trainings", "list", "gone", *folders]) == 2


def test_both_experts_are_one_checkpoint_and_foreign_files_are_none(settings: Settings) -> None:
    output = Output(settings, "pair+1")
    of_both = {"high_noise": {"a": torch.zeros(2)}, "low_noise": {"a": torch.ones(2)}}
    output.write_checkpoint(7, of_both, {"receipt": {"steps": 7, "loss": 0.5, "validation_loss": None}})
    output.write_checkpoint(8, of_both, {"receipt": {"steps": "many"}})
    output.state.write_bytes(b"nonsense")
    (output.folder / "pair+1-9.safetensors").write_bytes(b"nonsense")
    (found,) = checkpoints(settings, "pair+1")
    assert (found.step, found.loss, found.validation_loss) == (7, 0.5, None)
    assert [path.name for path in found.paths] == [f"pair+1-7_{end}_noise.safetensors" for end in ("high", "low")]
    assert [path.name for path in use(settings, "pair+1", 7)] == [path.name for path in found.paths]
    assert LoraLibrary(settings.loras).find("pair+1-7").is_pair


@pytest.mark.parametrize(
    ("losses", "best", "says"),
    [
        ([], None, ""),
        ([(0, 0.5), (10, 0.4), (20, 0.3)], 20, ""),
        ([(0, 0.5), (10, 0.300), (20, 0.303)], 10, ""),
        ([(0, 0.5), (10, 0.30), (20, 0.33)], 10, "lowest after step 10 .*trainings use look 10"),
        ([(0, 0.5), (10, 0.51), (20, 0.6)], 0, "base model is better than every checkpoint"),
    ],
)
def test_losses_say_which_checkpoint_to_take(losses: list[tuple[int, float]], best: int | None, says: str) -> None:
    assert best_step(losses) == best
    hint = advice(losses, "look")
    assert re.search(says, hint)
    assert bool(hint) == bool(says)
