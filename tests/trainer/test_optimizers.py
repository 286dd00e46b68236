"""AdamW with moments in eight bits, by bitsandbytes where it is installed, and what is said where it is not."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from tests.support.optimizers import assert_goes_on_to_the_same_bits
from tests.support.trainings import Watcher, run
from wan_pipeline.errors import Cancelled, UserError
from wan_pipeline.models.memory import WAN_14B
from wan_pipeline.models.precision import Precision
from wan_pipeline.settings import Settings
from wan_pipeline.trainer import optimizers, trainable
from wan_pipeline.trainer.files.state import ResumeError
from wan_pipeline.trainer.memory.forecast import Work, factor_count, forecast
from wan_pipeline.trainer.memory.plan import TrainingPlan
from wan_pipeline.trainer.optimizers import check_computes
from wan_pipeline.trainer.recipe import Optimizer, load_recipe
from wan_pipeline.trainer.request import TrainingRequest
from wan_pipeline.trainer.run import forecast_training
from wan_pipeline.trainer.trainable import check_optimizer

HAS_BITSANDBYTES = find_spec("bitsandbytes") is not None
needs_bitsandbytes = pytest.mark.skipif(
    not HAS_BITSANDBYTES, reason="bitsandbytes is not installed: pip install -r requirements-8bit.txt"
)
RECIPE = load_recipe("style", WAN_14B, optimizer="adamw8bit", learning_rate=1e-2)


def test_without_the_library_it_is_said_first(
    request_of: TrainingRequest, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainable, "find_spec", lambda _: None)
    with pytest.raises(UserError, match=r"needs bitsandbytes.*pip install -r requirements-8bit\.txt"):
        forecast_training(replace(request_of, output="never", optimizer="adamw8bit"), settings, Watcher())
    check_optimizer(replace(RECIPE, optimizer=Optimizer.ADAMW), "cpu")


def test_a_device_that_it_has_no_code_for_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainable, "find_spec", lambda _: object())
    with pytest.raises(UserError, match="does not run on this mps"):
        check_optimizer(RECIPE, "mps")
    check_optimizer(RECIPE, "cuda")
    check_optimizer(RECIPE, None)  # not known yet


def test_code_that_does_not_run_is_found_before_the_dataset_is_prepared(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(torch.optim.SGD):
        def step(self, closure: object = None) -> None:  # type: ignore[override]
            raise RuntimeError("the native library is not there")

    monkeypatch.setattr(optimizers, "make_optimizer", lambda parameters, *_: Broken(parameters, lr=0.1))
    with pytest.raises(UserError, match=r"does not run on this cpu.*with the optimizer adamw"):
        check_computes(RECIPE, torch.device("cpu"))


def test_the_forecast_knows_the_smaller_moments() -> None:
    plain, small = (Work(WAN_14B, 1024, 1, 32, 512, moments_in_8_bits=value) for value in (False, True))
    for bf16, bytes_each in ((False, 4), (True, 2)):
        plan = TrainingPlan(Precision.INT8, 2, recomputes=True, small_factors=bf16)
        saved = forecast(plain, plan).bytes - forecast(small, plan).bytes
        assert saved == pytest.approx(factor_count(plain) * 2 * (bytes_each - 1 - 4 / 256))


@needs_bitsandbytes
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_its_state_goes_on_to_the_same_bits(dtype: torch.dtype, tmp_path: Path) -> None:
    tensors = assert_goes_on_to_the_same_bits(RECIPE, torch.device("cpu"), dtype, tmp_path)
    assert tensors["large.state1"].dtype is tensors["large.state2"].dtype is torch.uint8
    assert tensors["large.absmax2"].shape == (4113 // 256 + 1,)
    assert tensors["small.state1"].dtype is torch.float32


@needs_bitsandbytes
def test_a_training_stopped_and_resumed_gives_the_same_weights(
    request_of: TrainingRequest, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        optimizers, "SMALLEST_IN_8_BITS", 1
    )  # the tiny model's factors have fewer numbers than real ones
    asked = replace(request_of, optimizer="adamw8bit")
    whole = run(replace(asked, output="eight"), settings)
    parts = replace(asked, output="parts")
    with pytest.raises(Cancelled):
        run(parts, settings, stop_after=4)
    with safe_open(settings.trainings / "parts" / "state.safetensors", "pt") as file:
        moments = [file.get_tensor(name) for name in file.keys() if name.endswith(".state1")]  # noqa: SIM118
    assert moments
    assert all(moment.dtype is torch.uint8 for moment in moments)
    with pytest.raises(ResumeError, match="its recipe has changed"):
        run(replace(parts, optimizer="adamw", resume=True), settings)
    assert run(replace(parts, resume=True), settings).lora.sha256 == whole.lora.sha256
    plain = run(replace(request_of, output="plain"), settings)
    assert plain.lora.sha256 != whole.lora.sha256
    assert whole.loss == pytest.approx(plain.loss, rel=0.05)
