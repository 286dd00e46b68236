"""Steps of a training: gradients of several batches, and the mean of the factors that the file may hold."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from tests.support.trainings import Watcher
from wan_pipeline.errors import Cancelled
from wan_pipeline.models.memory import WAN_14B
from wan_pipeline.models.precision import Precision
from wan_pipeline.settings import Settings
from wan_pipeline.trainer.average import FIRST_STEPS, Average
from wan_pipeline.trainer.flow import Noisy
from wan_pipeline.trainer.loop import Loop
from wan_pipeline.trainer.memory.forecast import Work, factor_count, forecast
from wan_pipeline.trainer.memory.plan import TrainingPlan
from wan_pipeline.trainer.request import TrainingRequest
from wan_pipeline.trainer.run import _Training, forecast_training, train

STEPS = 4


@pytest.fixture(scope="module")
def request_of(pictures: Path) -> TrainingRequest:
    """One whose file holds the mean of the factors."""
    return TrainingRequest(pictures, "mean", recipe="style-thorough", steps=STEPS, rank=2, accumulation=2)


def started(request: TrainingRequest, settings: Settings) -> Loop:
    training = _Training(request, settings, Watcher())
    training.start()
    return training.loop


def test_several_batches_give_the_gradient_of_one_larger_one(request_of: TrainingRequest, settings: Settings) -> None:
    loop = started(replace(request_of, output="batches"), settings)
    expert = loop.model.experts[0]
    with loop.model.training(loop.plan, loop.place.device) as turns:
        turns.take(expert)
        for pair in expert.factors.pairs.values():
            torch.nn.init.normal_(pair.up, std=0.05, generator=torch.Generator().manual_seed(1))
        noisy, text = loop._draw(expert)
        while len(text) % 2:
            noisy, text = loop._draw(expert)
        losses, gradients = [], []
        for parts in (1, 2):
            loop.recipe = replace(loop.recipe, accumulation=parts)
            batches = list(zip(split(noisy, parts), text.chunk(parts), strict=True))
            with patch.object(loop, "_draw", side_effect=batches):
                losses.append(loop._backward(expert))
            gradients.append([factor.grad.clone() for factor in expert.factors.parameters()])
            expert.optimizer.zero_grad(set_to_none=True)
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    for whole, summed in zip(*gradients, strict=True):
        torch.testing.assert_close(summed, whole, rtol=1e-3, atol=1e-6)


def split(noisy: Noisy, parts: int) -> list[Noisy]:
    tensors = [value for value in vars(noisy).values() if value is not None]
    return [Noisy(*values) for values in zip(*(tensor.chunk(parts) for tensor in tensors), strict=True)]


def test_the_file_holds_the_mean_of_the_last_factors(request_of: TrainingRequest, settings: Settings) -> None:
    loop = started(replace(request_of, output="followed"), settings)
    expert, decay = loop.model.experts[0], loop.recipe.average
    expected = [factor.detach().clone() for factor in expert.factors.parameters()]
    for step in range(1, STEPS + 1):
        loop.run_until(step, Watcher())
        kept = min(decay, (1 + step) / (FIRST_STEPS + step))
        now = [factor.detach() for factor in expert.factors.parameters()]
        expected = [kept * mean + (1 - kept) * value for mean, value in zip(expected, now, strict=True)]
    last = [factor.detach().clone() for factor in expert.factors.parameters()]
    lora = train(request_of, settings, Watcher()).lora
    with safe_open(lora.paths[0], "pt") as file:
        written = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    with expert.averaged():
        shown = [factor.detach().clone() for factor in expert.factors.parameters()]
        assert all(torch.equal(written[name], value) for name, value in expert.factors.file_tensors().items())
    torch.testing.assert_close(shown, expected, rtol=1e-4, atol=1e-7)
    assert not any(torch.equal(one, other) for one, other in zip(shown, last, strict=True))
    assert all(map(torch.equal, last, expert.factors.parameters()))  # they go on from where they were


def test_a_mean_follows_at_once_and_is_fp32() -> None:
    factor = torch.nn.Parameter(torch.zeros(3, dtype=torch.bfloat16))
    average = Average([factor], 0.99)
    with torch.no_grad():
        factor.fill_(1.0)
    values: list[Tensor] = []
    for step in (1, 2, 3000):
        average.update(step)
        values.append(average.values[0].clone())
    assert values[0].dtype == torch.float32
    assert [float(value[0]) for value in values] == pytest.approx([9 / 11, 1 - 2 / 11 * 3 / 12, 1 - 0.99 * 6 / 132])


@pytest.mark.soak
def test_stopped_and_resumed_the_mean_is_the_same_bits(request_of: TrainingRequest, settings: Settings) -> None:
    whole = train(replace(request_of, output="whole"), settings, Watcher())
    parts = replace(request_of, output="parts")
    with pytest.raises(Cancelled):
        train(parts, settings, Watcher(stop_after=3))
    resumed = train(replace(parts, resume=True), settings, Watcher())
    assert resumed.lora.sha256 == whole.lora.sha256
    assert resumed.validation_loss == whole.validation_loss
    other = train(replace(request_of, output="last", recipe="style"), settings, Watcher())
    assert other.lora.sha256 != whole.lora.sha256


def test_what_they_take_is_foreseen(request_of: TrainingRequest, settings: Settings) -> None:
    requests = [replace(request_of, output="never", accumulation=count) for count in (1, 4)]
    one, four = (forecast_training(request, settings, Watcher()) for request in requests)
    assert four.minutes == pytest.approx(4 * one.minutes, rel=0.01)
    assert four.forecast.bytes == pytest.approx(one.forecast.bytes)
    plain, averaged = (Work(WAN_14B, 1024, 1, 32, 512, averages=value) for value in (False, True))
    plan = TrainingPlan(Precision.INT8, 2, recomputes=True, small_factors=True)
    assert forecast(averaged, plan).bytes - forecast(plain, plan).bytes == pytest.approx(4 * factor_count(plain))
