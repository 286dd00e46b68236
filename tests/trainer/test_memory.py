"""Training by blocks: streamed, recomputed and resident gradients are the same bits, and the base stays as it is."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, replace

import pytest
import torch

from benchmarks import train
from tests.engine.memory.test_block_streaming import addresses, make
from wan_pipeline.engine.memory.block_streaming import StreamedModel
from wan_pipeline.models.memory import WAN_14B
from wan_pipeline.models.precision import Precision
from wan_pipeline.models.registry import find
from wan_pipeline.planning.machine import GIB, REFERENCE, Machine, without_device
from wan_pipeline.planning.planner import SPARE
from wan_pipeline.settings import REPOSITORY
from wan_pipeline.trainer.dataset.buckets import Bucket
from wan_pipeline.trainer.experts import training
from wan_pipeline.trainer.factors import Factors
from wan_pipeline.trainer.flow import add_noise, flow_loss
from wan_pipeline.trainer.memory import choose as choose_module
from wan_pipeline.trainer.memory import dataset as dataset_module
from wan_pipeline.trainer.memory.choose import TrainingPlanner
from wan_pipeline.trainer.memory.dataset import dataset_bytes
from wan_pipeline.trainer.memory.forecast import Work, forecast
from wan_pipeline.trainer.memory.plan import TrainingPlan
from wan_pipeline.trainer.recipe import change, load_recipe

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


def planner(spec_id: str, bucket: Bucket, gib: float, machine: Machine = REFERENCE) -> TrainingPlanner:
    spec = find(spec_id)
    return TrainingPlanner(spec, load_recipe("character", spec.memory), {bucket: 3}, machine, gib)


CLIP, IMAGE = Bucket(512, 512, 33), Bucket(512, 512)


def test_smaller_devices_get_smaller_plans() -> None:
    assert planner("wan2.1-t2v-14b", IMAGE, 78).choose().plan == TrainingPlan(Precision.BF16, recomputes=True)
    tight = planner("wan2.1-t2v-14b", CLIP, 7.2)
    assert tight.choose().fits
    assert tight.choose().plan.buffers >= 2
    assert tight.streams_text
    assert tight.encodes_in_tiles
    assert not planner("wan2.1-t2v-14b", CLIP, 3).choose().fits
    assert planner("wan2.2-t2v-a14b", CLIP, 12).choose().fits
    assert planner("demo", Bucket(320, 192), 0, without_device(8e9)).choose().plan == TrainingPlan(Precision.FP32)


STREAMED = {"streamed_14b": "wan2.1-t2v-14b", "streamed_a14b": "wan2.2-t2v-a14b", "streamed_5b": "wan2.2-ti2v-5b"}


def test_plans_that_were_measured_are_chosen_under_the_same_caps() -> None:
    results = json.loads((REPOSITORY / "benchmarks/results/train.json").read_text("utf-8"))
    for case, spec_id in STREAMED.items():
        spec = find(spec_id)
        for row in (row for row in train.STREAMED if str(row) in results[case]):
            recipe = replace(change(load_recipe("style", spec.memory), rank=train.RANK), stills=row.count)
            bucket = Bucket(row.side, row.side, row.frames)
            chosen = TrainingPlanner(spec, recipe, {bucket: 1}, REFERENCE, row.cap).choose()
            assert chosen.fits
            assert asdict(chosen.plan) == results[case][str(row)]["plan"]


def test_of_thousands_of_examples_each_size_is_reckoned_once(monkeypatch: pytest.MonkeyPatch) -> None:
    spec, asked = find("wan2.1-t2v-14b"), []
    reckon = choose_module.forecast
    monkeypatch.setattr(choose_module, "forecast", lambda work, *rest: (asked.append(work), reckon(work, *rest))[1])
    recipe = load_recipe("style", spec.memory)
    few, many = (TrainingPlanner(spec, recipe, {IMAGE: count, CLIP: count}, REFERENCE).choose() for count in (1, 2500))
    assert many.minutes == pytest.approx(few.minutes)
    assert len(asked) <= 2 * 3 * 12  # for each plan the largest and both


def test_the_machines_memory_is_counted_too() -> None:
    little, more = (replace(REFERENCE, ram=gib * GIB) for gib in (14, 24))
    wanting = planner("wan2.1-t2v-14b", IMAGE, 7.2, little).choose()
    assert not wanting.fits
    assert "13.1 of 11.0 GiB of the machine's memory" in str(wanting)
    assert planner("wan2.1-t2v-14b", IMAGE, 7.2, more).choose().fits
    resident = planner("wan2.1-t2v-14b", IMAGE, 20, little).choose()
    assert resident.fits
    assert not resident.plan.buffers
    smaller = planner("wan2.1-t2v-14b", IMAGE, 20, little).smaller(resident.plan)
    assert smaller is None or not smaller.plan.buffers
    assert not planner("demo", Bucket(320, 192), 0, without_device(3 * GIB)).choose().fits


THOUSANDS = Counter({CLIP: 5000})


@pytest.mark.parametrize(("spec_id", "gib"), [("wan2.1-t2v-14b", 14.8), ("wan2.2-i2v-a14b", 28.5)])
def test_the_dataset_is_counted_as_long_as_it_is_in_memory(spec_id: str, gib: float) -> None:
    spec = find(spec_id)
    recipe = load_recipe("motion", spec.memory)
    assert dataset_bytes(spec, THOUSANDS, on_cpu=False) / GIB == pytest.approx(gib, abs=0.1)
    little, more = (replace(REFERENCE, ram=(gib + spare) * GIB) for spare in (2, 60))
    wanting = TrainingPlanner(spec, recipe, THOUSANDS, little).choose()
    assert not wanting.fits
    assert f"with {gib:.1f} GiB of the machine's memory for the dataset" in str(wanting)
    assert TrainingPlanner(spec, recipe, THOUSANDS, more).choose().fits
    assert TrainingPlanner(spec, recipe, Counter({CLIP: 50}), little).choose().fits


def test_without_a_device_the_dataset_shares_the_memory() -> None:
    spec = find("demo")
    recipe = load_recipe("character", spec.memory)
    few, many = ({Bucket(320, 192, 33): count} for count in (10, 60_000))
    assert TrainingPlanner(spec, recipe, few, without_device(16 * GIB)).choose().fits
    wanting = TrainingPlanner(spec, recipe, many, without_device(16 * GIB)).choose()
    assert not wanting.fits and wanting.deficit < dataset_bytes(spec, many, on_cpu=True)


def test_a_dataset_that_does_not_fit_does_not_stop_a_smaller_plan() -> None:
    spec = find("wan2.1-t2v-14b")
    plans = TrainingPlanner(spec, load_recipe("motion", spec.memory), THOUSANDS, replace(REFERENCE, ram=16 * GIB))
    smaller = plans.smaller(TrainingPlan(Precision.BF16, recomputes=True))
    assert smaller is not None and not smaller.plan.buffers


@pytest.mark.parametrize("spec_id", ["demo", "wan2.1-i2v-14b-480p"])
def test_the_dataset_takes_what_the_prepared_tensors_take(spec_id: str) -> None:
    spec, bucket, tokens = find(spec_id), Bucket(320, 192, 9), dataset_module.CAPTION_TOKENS
    side = spec.spatial_compression
    latents = torch.zeros(spec.latent_channels, 3, 192 // side, 320 // side)
    tensors = [latents, torch.zeros(tokens, spec.memory.text_width, dtype=torch.bfloat16)]
    if spec.needs_image:
        tensors += [torch.cat([latents[:4], latents]), torch.zeros(257, 1280)]
    assert dataset_bytes(spec, {bucket: 7}, on_cpu=False) == 7 * sum(tensor.nbytes for tensor in tensors)


def test_a_share_of_the_devices_memory_is_spared() -> None:
    free = planner("wan2.1-t2v-14b", IMAGE, 0, replace(REFERENCE, vram=8 * GIB)).choose()
    assert free.fits
    assert free.forecast.bytes <= (1 - SPARE) * 8 * GIB


def test_a_training_is_resumed_by_a_plan_with_the_same_numbers() -> None:
    roomy, middle, tight = (planner("wan2.1-t2v-14b", IMAGE, gib) for gib in (78, 24, 7.2))
    saved = middle.choose().plan
    assert (saved.precision, saved.buffers) == (Precision.INT8, 0)
    for other in (roomy, tight):
        resumed = other.choose(saved.numbers)
        assert resumed.fits
        assert resumed.plan.numbers == saved.numbers
    assert resumed.plan.buffers
    assert roomy.choose().plan.numbers != saved.numbers
    assert roomy.choose(["fp32", False]) == roomy.choose()  # of a CPU; the state's identity names the device


def test_after_out_of_memory_comes_a_plan_that_takes_less() -> None:
    plans = planner("wan2.1-t2v-14b", CLIP, 0)
    candidate, seen = plans.choose(), 0
    while (smaller := plans.smaller(candidate.plan)) is not None:
        assert smaller.forecast.bytes < candidate.forecast.bytes
        candidate, seen = smaller, seen + 1
    assert seen >= 3
    assert candidate.plan.small_factors
    assert candidate.plan.buffers <= 4


def test_a_step_takes_longer_with_more_to_compute_and_to_copy() -> None:
    def seconds(tokens: int, buffers: int) -> float:
        plan = TrainingPlan(Precision.INT8, buffers, recomputes=True)
        return forecast(Work(WAN_14B, tokens, 1, 32, 512), plan, replace(REFERENCE, copy_speed=12e9)).step_seconds

    assert seconds(256, 2) > seconds(256, 20) >= seconds(256, 40)
    assert seconds(9216, 40) > 2 * seconds(256, 40)
