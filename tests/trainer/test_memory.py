"""Training by blocks: streamed, recomputed and resident gradients are the same bits, and the base stays as it is."""

from __future__ import annotations

from itertools import product

import pytest
import torch

from tests.engine.memory.test_block_streaming import addresses, make
from wan_pipeline.engine.memory.block_streaming import StreamedModel
from wan_pipeline.models.memory import WAN_1_3B, WAN_14B
from wan_pipeline.models.precision import Precision
from wan_pipeline.planning.machine import GIB, REFERENCE
from wan_pipeline.trainer.experts import training
from wan_pipeline.trainer.factors import Factors
from wan_pipeline.trainer.flow import add_noise, flow_loss
from wan_pipeline.trainer.memory.forecast import Work, fitting_plans, forecast
from wan_pipeline.trainer.memory.plan import TrainingPlan

CPU = torch.device("cpu")
LAYERS = 5


def gradients(model: torch.nn.Module, plan: TrainingPlan) -> tuple[list[torch.Tensor], int]:
    """Of all factors after two steps that are equal but for the plan, and how many blocks were copied."""
    streamed = None
    if plan.buffers:
        streamed = StreamedModel(model)
        streamed.move_to_host_memory(pinned=False)
    draw = torch.Generator().manual_seed(3)
    factors = Factors(model, 4, 8.0, draw, CPU)
    for pair in factors.pairs.values():
        torch.nn.init.normal_(pair.up, std=0.1, generator=draw)
    clean, noise = (torch.randn(2, 48, 3, 4, 4, generator=draw) for _ in range(2))
    given = torch.tensor([True, False])
    noisy = add_noise(clean, noise, torch.tensor([0.3, 0.8]), given, patch=(1, 2, 2))
    text = torch.randn(2, 6, 32, generator=draw)
    with training(model, factors, streamed, plan, CPU) as stream:
        for _ in range(2):
            velocity = model(noisy.latents, noisy.timestep, text, return_dict=False)[0]
            flow_loss(velocity, noisy).backward()
        with torch.no_grad():  # a pass without a backward, in between
            model(noisy.latents, noisy.timestep, text, return_dict=False)
    return [factor.grad for factor in factors.parameters() if factor.grad is not None], stream.copies if stream else 0


PRECISIONS = [Precision.INT8, *(pytest.param(one, marks=pytest.mark.soak) for one in (Precision.FP8, Precision.FP32))]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_gradients_of_streamed_and_resident_blocks_are_the_same_bits(precision: Precision) -> None:
    wanted, _ = gradients(make(precision), TrainingPlan(precision))
    assert len(wanted) == LAYERS * 10 * 2
    assert all(value.abs().max() > 0 for value in wanted)
    for buffers, on_host in ((0, False), (2, False), (3, True), (LAYERS, False)):
        model = make(precision)
        before = [value.clone() for value in model.state_dict().values()]
        plan = TrainingPlan(precision, buffers, recomputes=True, inputs_on_host=on_host)
        found, _ = gradients(model, plan)
        assert all(map(torch.equal, wanted, found)), plan
        assert all(map(torch.equal, before, model.state_dict().values())), plan


@pytest.mark.parametrize("buffers", [2, 4, LAYERS])
def test_a_step_copies_each_block_once_a_pass_but_those_at_the_turns(buffers: int) -> None:
    _, copies = gradients(make(Precision.INT8), TrainingPlan(Precision.INT8, buffers, recomputes=True))
    of_steps = buffers + 2 * 2 * (LAYERS - buffers)  # the buffers are filled once, and again what does not stay
    of_last_pass = LAYERS - buffers
    assert copies <= of_steps + of_last_pass
    assert copies == LAYERS or buffers < LAYERS


def test_afterwards_the_model_is_as_it_was() -> None:
    model = make(Precision.INT8)
    StreamedModel(model).move_to_host_memory(pinned=False)
    forwards = [module.forward.__func__ for module in model.modules()]
    before = addresses(model)
    gradients(model, TrainingPlan(Precision.INT8, 2, recomputes=True, inputs_on_host=True))
    assert [module.forward.__func__ for module in model.modules()] == forwards
    assert addresses(model).keys() == before.keys()
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def work(tokens: int, facts=WAN_14B) -> Work:
    return Work(facts, tokens, 1, 32, 512)


def test_smaller_devices_get_smaller_plans() -> None:
    clip, image = work(9216), work(1024)
    roomy, tight = (next(fitting_plans(clip, size * GIB)) for size in (78, 7.2))
    assert roomy == TrainingPlan(Precision.BF16, 0, recomputes=True)
    assert tight.buffers >= 2
    assert tight.inputs_on_host
    assert next(fitting_plans(image, 7.2 * GIB)).buffers > 2
    assert list(fitting_plans(clip, 3 * GIB)) == []
    for size, one in product((6, 7.2, 12, 24, 48), (clip, image, work(1024, WAN_1_3B))):
        for plan in fitting_plans(one, size * GIB):
            assert forecast(one, plan).bytes <= size * GIB


def test_a_step_takes_longer_with_more_to_compute_and_to_copy() -> None:
    plans = [TrainingPlan(Precision.INT8, buffers, True) for buffers in (2, 20, 40)]
    times = [forecast(work(256), plan, REFERENCE).step_seconds for plan in plans]
    assert times[0] > times[1] >= times[2]
    assert forecast(work(9216), plans[0], REFERENCE).step_seconds > 2 * times[0]
