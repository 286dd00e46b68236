"""What goes wrong in a training: it is said, and costs as little as can be."""

from __future__ import annotations

import math
import weakref
from dataclasses import replace
from typing import Any

import pytest
import torch

from tests.support.trainings import STEPS, run
from wan_pipeline.errors import OutOfMemory, StorageError
from wan_pipeline.models.library import InstalledModel
from wan_pipeline.models.precision import Precision
from wan_pipeline.settings import Settings
from wan_pipeline.trainer import run as run_module
from wan_pipeline.trainer.experts import Trainable
from wan_pipeline.trainer.files.naming import NameTakenError
from wan_pipeline.trainer.files.output import Output
from wan_pipeline.trainer.files.state import ResumeError
from wan_pipeline.trainer.loop import Loop, NotFiniteError
from wan_pipeline.trainer.memory.choose import TrainingPlanner
from wan_pipeline.trainer.memory.plan import TrainingPlan
from wan_pipeline.trainer.progress import TrainingProgress
from wan_pipeline.trainer.request import TrainingRequest
from wan_pipeline.trainer.trained import Trained


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


@pytest.mark.soak
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


@pytest.mark.soak
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
