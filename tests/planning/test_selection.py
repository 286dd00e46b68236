"""The promises of plan selection: never more than there is, never slower with more memory, always a way down."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise, product

import pytest

from tests.planning.clips import CLIPS, RELEASED, SMALL, device, plan
from wan_pipeline.models import registry
from wan_pipeline.models.precision import Precision
from wan_pipeline.planning.costs import WORKSPACE
from wan_pipeline.planning.forecast import forecast
from wan_pipeline.planning.geometry import Geometry
from wan_pipeline.planning.machine import GIB, REFERENCE, without_device
from wan_pipeline.planning.memory_plan import Residency, read_plan
from wan_pipeline.planning.selection import least_memory, select_plan, select_smaller_plan
from wan_pipeline.requests.own_clip import own_request

SOME = ["wan2.1-t2v-1.3b", "wan2.1-t2v-14b", "wan2.2-t2v-a14b", "wan2.2-ti2v-5b"]
SIZES = [0.0, 1, 2, 4, 6, 7.2, 8, 10.8, 12, 16, 22, 24, 32, 48, 80]


# What is promised


@pytest.mark.parametrize("model", RELEASED)
@pytest.mark.parametrize("ram", [8, 16, 32, 64, 128])
def test_what_fits_is_never_over_the_cap_and_what_does_not_says_what_to_change(model, ram):
    for vram in SIZES:
        for width, height, frames in ((480, 832, 33), (832, 480, 81), (1280, 704, 121), (1920, 1088, 161)):
            made = plan(model, Geometry(width, height, frames, 80), vram, ram)
            inside = made.peak_vram <= vram * GIB and made.peak_ram <= ram * GIB
            assert made.fits == inside == (not made.reason)
            if not made.fits:
                assert "GB" in made.reason and "choose" in made.reason


@pytest.mark.parametrize("only", [None, Residency.STREAMED])
@pytest.mark.parametrize("precision", [Precision.BF16, Precision.INT8])
@pytest.mark.parametrize("model", SOME)
def test_more_memory_is_never_slower_and_never_fits_less(model, precision, only):
    """But for the tolerance within which less memory is preferred, and for decoding in fp32 where there is room."""
    made = [plan(model, vram=vram, ram=128, precision=precision, only=only) for vram in SIZES[1:]]
    fitting = [step for step in made if step.fits]
    assert [step.fits for step in made] == sorted(step.fits for step in made) and fitting
    for less, more in pairwise(fitting):
        stages = set(less.costs)
        if less.plan.vae != more.plan.vae:
            assert (less.plan.vae, more.plan.vae) == ("bf16", "fp32")
            stages.remove("decoding")
        times = [sum(made.costs[stage].seconds for stage in stages) for made in (less, more)]
        assert times[1] <= 1.03 * times[0]


@pytest.mark.parametrize("precision", [None, *Precision])
@pytest.mark.parametrize("model", RELEASED)
def test_every_plan_comes_back_from_its_text(model, precision):
    """What a job or a receipt stores is forecast, and made, as it was."""
    for vram, ram, clip in product([0, 2, 7.2, 16, 48, 80], [8, 64], CLIPS):
        made = plan(model, clip, vram, ram, precision)
        assert read_plan(str(made.plan)) == made.plan
        assert forecast(registry.find(model), clip, device(vram, ram), read_plan(str(made.plan))) == made


@pytest.mark.parametrize("model", RELEASED)
def test_out_of_memory_there_is_always_a_plan_that_takes_less_until_there_is_none(model):
    spec = registry.find(model)
    for vram, ram, clip, keeps in product([0, 4, 7.2, 16, 48, 80], [8, 64], CLIPS, [True, False]):
        machine = device(vram, ram)
        tried = [select_plan(spec, clip, machine).plan]
        while (found := select_smaller_plan(spec, clip, machine, tried[-1], keeps_precision=keeps)) is not None:
            tried.append(found)
            assert len(tried) <= 16, [str(each) for each in tried]  # a job itself gives up after two
        forecasts = [forecast(spec, clip, machine, each) for each in tried]
        for before, after in pairwise(forecasts):
            assert after.peak_vram <= before.peak_vram
            assert after.peak_vram < before.peak_vram or after.peak_ram < before.peak_ram or _less(before, after)
        if keeps:
            assert len({each.precision for each in tried}) == 1


def _less(before, after) -> bool:
    """In some stage, if not in the highest."""
    pairs = [(after.costs[stage], cost) for stage, cost in before.costs.items()]
    return any(new.vram < old.vram or new.ram < old.ram for new, old in pairs)


# What is chosen


def test_the_cards_that_the_planner_was_made_for():
    assert plan(vram=7.2, ram=32).fits
    assert plan(clip=replace(SMALL, width=1280, height=720), vram=7.2, ram=32).fits
    assert plan(clip=replace(SMALL, width=1920, height=1088), vram=10.8, ram=32).fits
    both = plan("wan2.2-t2v-a14b", vram=7.2, ram=48)
    assert both.fits and both.plan.precision is Precision.INT8 and both.plan.disk == 0


def test_int8_only_where_bf16_would_have_to_stream():
    assert plan(vram=7.2).plan.precision is Precision.INT8
    large = plan(vram=78, ram=200)
    assert large.plan.precision is Precision.BF16 and not large.is_streamed and not large.plan.chunk


def test_short_of_memory_an_expert_is_read_from_the_disk():
    experts = [plan("wan2.2-t2v-a14b", vram=7.2, ram=ram) for ram in (48, 24, 8)]
    assert [made.plan.disk for made in experts] == [0, 1, 2] and all(made.fits for made in experts)
    slow = plan("wan2.2-t2v-a14b", vram=7.2, ram=8, disk_speed=0.2e9)
    assert slow.seconds > 2 * experts[2].seconds


@pytest.mark.parametrize("vram", [0, 7.2, 80])
@pytest.mark.parametrize("precision", list(Precision))
def test_a_requested_precision_is_kept(precision, vram):
    assert plan(precision=precision, vram=vram).plan.precision is precision


@pytest.mark.parametrize("only", list(Residency))
def test_a_requested_residency_is_kept_though_it_may_not_fit(only):
    assert plan(only=only).plan.residency is only
    assert plan(only=only, precision=Precision.INT8, vram=80).plan.residency is only


def test_streamed_blocks_compute_in_the_same_chunks_however_much_memory_is_free():
    chunks = {plan(vram=vram, precision=Precision.INT8, only=Residency.STREAMED).plan.chunk for vram in SIZES[4:]}
    assert len(chunks) == 1 and chunks != {0}


def test_what_is_free_beyond_the_minimum_is_for_resident_blocks():
    sizes = (6, 7.2, 10.8, 16)
    blocks = [plan(vram=vram, precision=Precision.INT8, only=Residency.STREAMED) for vram in sizes]
    assert all(made.peak_vram <= vram * GIB for made, vram in zip(blocks, sizes, strict=True))
    assert all(0 <= made.resident_blocks <= made.blocks == 40 for made in blocks)


def test_offload_is_not_chosen_for_weights_that_it_cannot_move():
    spec, room = registry.find("wan2.1-t2v-14b"), replace(REFERENCE, vram=12 * GIB)
    made = select_plan(spec, SMALL, room, None, Residency.OFFLOAD)
    assert made.plan.precision is Precision.BF16 and not made.fits


@pytest.mark.parametrize("model", registry.MODELS)
def test_the_least_memory_of_a_model_is_enough_for_its_own_clip(model):
    spec = registry.find(model)
    clip, least = Geometry.of(own_request(spec), spec), least_memory(spec)
    assert set(least) == {"resident", "offload", "streamed int8"}
    kinds = {"offload": (Precision.BF16, Residency.OFFLOAD), "streamed int8": (Precision.INT8, Residency.STREAMED)}
    for name, (precision, only) in kinds.items():
        assert plan(model, clip, least[name] + 0.06, 128, precision, only).fits  # rounded to a tenth
        assert least[name] <= least["resident"]


# Without a device


def test_without_a_device_the_cpu_computes():
    made = plan("demo", Geometry(320, 192, 33, 32), vram=0, ram=8)
    assert made.fits and made.peak_vram == 0 and made.plan.text == "cpu" and not made.is_streamed
    assert made.plan.precision is Precision.FP32


def test_a_cpu_is_slow_and_holds_all_of_a_model():
    spec = registry.find("wan2.1-t2v-14b")
    with_little, with_much = (select_plan(spec, SMALL, without_device(ram * GIB)) for ram in (8, 128))
    assert not with_little.fits and "machine's memory" in with_little.reason
    assert with_much.fits and with_much.costs["denoising"].seconds > 3600


def test_json_of_a_forecast_has_what_scripts_read():
    made = plan().to_dict()
    assert made["fits"] and made["plan"] == str(plan().plan)
    assert made["peak_vram_gib"] <= 7.2 and made["quantization"] == "int8"
    assert set(made["stages"]) == {"encoding text", "loading", "denoising", "decoding"}
    assert made["peak_vram_gib"] == max(stage["vram_gib"] for stage in made["stages"].values())
    assert made["stages"]["denoising"]["vram_gib"] * GIB > WORKSPACE
    assert (made["branches"], made["split"], made["second_vram_gib"]) == (1, 1, 0)
    assert list(made) == [
        *("fits", "peak_vram_gib", "peak_ram_gib", "seconds", "quantization", "residency", "resident_blocks", "blocks"),
        *("streamed", "chunk_tokens", "text_encoder", "vae_tile", "vae_dtype", "experts_on_disk", "preview", "plan"),
        *("branches", "split", "second_vram_gib", "stages", "reason"),
    ]
