"""The planner's promises: never more than there is, never slower with more, and the measured cases nearly right."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise, product

import pytest

from wan_pipeline.models import registry
from wan_pipeline.models.precision import Precision
from wan_pipeline.models.spec import Availability
from wan_pipeline.planning.costs import (
    GIB,
    REFERENCE,
    WORKSPACE,
    Geometry,
    activation_bytes,
    decoding_cost,
    encoding_cost,
    pass_seconds,
    tokens,
    transformer_bytes,
    without_device,
)
from wan_pipeline.planning.memory_plan import MemoryPlan, Residency, read_plan
from wan_pipeline.planning.planner import forecast, make_plan, scaled, smaller_plan

RELEASED = [spec.id for spec in registry.MODELS.values() if spec.availability is not Availability.ANNOUNCED]
SOME = ["wan2.1-t2v-1.3b", "wan2.1-t2v-14b", "wan2.2-t2v-a14b", "wan2.2-ti2v-5b"]
SIZES = [0.0, 1, 2, 4, 6, 7.2, 8, 10.8, 12, 16, 22, 24, 32, 48, 80]
SMALL = Geometry(832, 480, 81, 100)
CLIPS = [Geometry(width, height, 81, 80) for width, height in ((832, 480), (1280, 720), (1920, 1088))]


def device(vram=7.2, ram=64.0, **machine):
    return replace(REFERENCE, vram=vram * GIB, ram=ram * GIB, **machine)


def plan(model="wan2.1-t2v-14b", clip=SMALL, vram=7.2, ram=64.0, precision=None, only=None, **machine):
    return make_plan(registry.find(model), clip, device(vram, ram, **machine), precision, only)


# What is promised


@pytest.mark.parametrize("model", RELEASED)
@pytest.mark.parametrize("ram", [8, 16, 32, 64, 128])
def test_what_fits_is_never_over_the_cap_and_what_does_not_says_what_to_change(model, ram):
    for vram in SIZES:
        for width, height, frames in ((480, 832, 33), (832, 480, 81), (1280, 704, 121), (1920, 1088, 161)):
            made = plan(model, Geometry(width, height, frames, 80), vram, ram)
            inside = made.forecast.peak_vram <= vram * GIB and made.forecast.ram <= ram * GIB
            assert made.fits == inside == (not made.reason)
            if not made.fits:
                assert "GB" in made.reason and "choose" in made.reason


@pytest.mark.parametrize("only", [None, Residency.STREAMED])
@pytest.mark.parametrize("precision", [Precision.BF16, Precision.INT8])
@pytest.mark.parametrize("model", SOME)
def test_more_memory_is_never_slower_and_never_fits_less(model, precision, only):
    """But for the two hundredths for which less memory is worth more, and for decoding exactly where there is room."""
    made = [plan(model, vram=vram, ram=128, precision=precision, only=only) for vram in SIZES[1:]]
    fitting = [step for step in made if step.fits]
    assert [step.fits for step in made] == sorted(step.fits for step in made) and fitting
    for less, more in pairwise(fitting):
        stages = set(less.forecast.needs)
        if less.memory.vae != more.memory.vae:
            assert (less.memory.vae, more.memory.vae) == ("bf16", "fp32")
            stages.remove("decoding")
        times = [sum(made.forecast.needs[stage].seconds for stage in stages) for made in (less, more)]
        assert times[1] <= 1.03 * times[0]


@pytest.mark.parametrize("model", RELEASED)
@pytest.mark.parametrize(
    "text", ["resident,bf16", "offload,bf16", "streamed,int8,blocks=3,chunk=8192", "resident,int4"]
)
def test_a_longer_or_larger_clip_needs_no_less(model, text):
    sizes = ((832, 480, 41), (832, 480, 81), (1280, 704, 81), (1280, 704, 121), (1920, 1088, 121))
    clips = [Geometry(*size, 100, encodes=True) for size in sizes]
    made = [forecast(registry.find(model), clip, device(80), read_plan(text)).forecast for clip in clips]
    for smaller, larger in pairwise(made):
        assert smaller.seconds < larger.seconds
        for stage, need in smaller.needs.items():
            assert need.vram <= larger.needs[stage].vram and need.ram <= larger.needs[stage].ram


@pytest.mark.parametrize("precision", [None, *Precision])
@pytest.mark.parametrize("model", RELEASED)
def test_every_plan_comes_back_from_its_text(model, precision):
    """What a job or a receipt keeps is forecast, and made, as it was."""
    for vram, ram, clip in product([0, 2, 7.2, 16, 48, 80], [8, 64], CLIPS):
        made = plan(model, clip, vram, ram, precision)
        assert read_plan(str(made.memory)) == made.memory
        assert forecast(registry.find(model), clip, device(vram, ram), read_plan(str(made.memory))) == made


@pytest.mark.parametrize("model", RELEASED)
def test_out_of_memory_there_is_always_a_plan_that_takes_less_until_there_is_none(model):
    spec = registry.find(model)
    for vram, ram, clip, keeps in product([0, 4, 7.2, 16, 48, 80], [8, 64], CLIPS, [True, False]):
        machine = device(vram, ram)
        tried = [make_plan(spec, clip, machine).memory]
        while (found := smaller_plan(spec, clip, machine, tried[-1], keeps_precision=keeps)) is not None:
            tried.append(found)
            assert len(tried) <= 16, [str(memory) for memory in tried]  # a job itself gives up after two
        needs = [forecast(spec, clip, machine, memory).forecast for memory in tried]
        for before, after in pairwise(needs):
            assert after.peak_vram <= before.peak_vram
            assert after.peak_vram < before.peak_vram or after.ram < before.ram or _less(before, after)
        if keeps:
            assert len({memory.precision for memory in tried}) == 1


def _less(before, after) -> bool:
    """In some stage, if not in the highest."""
    pairs = [(after.needs[stage], need) for stage, need in before.needs.items()]
    return any(new.vram < old.vram or new.ram < old.ram for new, old in pairs)


# What was measured: GiB and seconds on the H100, build by build


@pytest.mark.parametrize(
    ("model", "width", "height", "gib"),
    [
        ("wan2.1-t2v-14b", 832, 480, 6.142),
        ("wan2.1-t2v-14b", 1280, 720, 12.195),
        ("wan2.1-t2v-14b", 1920, 1088, 27.174),
        ("wan2.1-t2v-1.3b", 832, 480, 2.513),
    ],
)
def test_measured_activations_of_int8_in_the_libraries_own_way(model, width, height, gib):
    spec = registry.find(model)
    count = tokens(spec, Geometry(width, height, 81, 2))
    made = activation_bytes(spec.memory, count, MemoryPlan(precision=Precision.INT8))
    assert made / GIB == pytest.approx(gib, rel=0.1)


def test_measured_step_of_the_14b_model_on_the_reference():
    assert pass_seconds(registry.find("wan2.1-t2v-14b"), SMALL, REFERENCE, MemoryPlan()) == pytest.approx(3.40, rel=0.1)


# What is chosen


def test_the_cards_of_the_issue():
    assert plan(vram=7.2, ram=32).fits
    assert plan(clip=replace(SMALL, width=1280, height=720), vram=7.2, ram=32).fits
    assert plan(clip=replace(SMALL, width=1920, height=1088), vram=10.8, ram=32).fits
    both = plan("wan2.2-t2v-a14b", vram=7.2, ram=48)
    assert both.fits and both.memory.precision is Precision.INT8 and both.memory.disk == 0


def test_int8_only_where_bf16_would_have_to_stream():
    assert plan(vram=7.2).memory.precision is Precision.INT8
    large = plan(vram=78, ram=200)
    assert large.memory.precision is Precision.BF16 and not large.is_streamed and not large.memory.chunk


def test_short_of_memory_an_expert_is_read_from_the_disk():
    experts = [plan("wan2.2-t2v-a14b", vram=7.2, ram=ram) for ram in (48, 24, 8)]
    assert [made.memory.disk for made in experts] == [0, 1, 2] and all(made.fits for made in experts)
    slow = plan("wan2.2-t2v-a14b", vram=7.2, ram=8, disk_speed=0.2e9)
    assert slow.forecast.seconds > 2 * experts[2].forecast.seconds


@pytest.mark.parametrize("vram", [0, 7.2, 80])
@pytest.mark.parametrize("precision", list(Precision))
def test_a_wish_for_a_precision_is_kept(precision, vram):
    assert plan(precision=precision, vram=vram).memory.precision is precision


@pytest.mark.parametrize("only", list(Residency))
def test_a_wish_for_one_way_is_kept_though_it_may_not_fit(only):
    assert plan(only=only).memory.residency is only
    assert plan(only=only, precision=Precision.INT8, vram=80).memory.residency is only


def test_what_streams_is_computed_in_the_same_parts_however_much_memory_is_free():
    chunks = {plan(vram=vram, precision=Precision.INT8, only=Residency.STREAMED).memory.chunk for vram in SIZES[4:]}
    assert len(chunks) == 1 and chunks != {0}


def test_all_that_is_free_above_the_cap_is_for_blocks():
    blocks = [plan(vram=vram, precision=Precision.INT8, only=Residency.STREAMED) for vram in (6, 7.2, 10.8, 16)]
    assert all(made.forecast.peak_vram <= vram * GIB for made, vram in zip(blocks, (6, 7.2, 10.8, 16), strict=True))
    assert all(0 <= made.resident_blocks <= made.blocks == 40 for made in blocks)


def test_a_first_block_cache_and_given_pictures_need_more():
    spec = registry.find("wan2.1-i2v-14b-480p")
    plain, cached, given = (
        forecast(spec, clip, device(80), MemoryPlan()).forecast
        for clip in (SMALL, replace(SMALL, caches=True), replace(SMALL, encodes=True))
    )
    assert cached.needs["denoising"].vram > plain.needs["denoising"].vram
    assert given.needs["denoising"].seconds > plain.needs["denoising"].seconds
    whole, tiles = (encoding_cost(spec.memory, CLIPS[2], device(80), how) for how in ("whole", "tiles"))
    assert tiles.vram < whole.vram and tiles.seconds > whole.seconds


def test_smaller_tiles_take_less_memory_and_more_time():
    facts = registry.find("wan2.1-t2v-14b").memory
    needs = [decoding_cost(facts, SMALL, device(), MemoryPlan(tile=tile)) for tile in (0, 512, 384, 256, 128, 64, 1)]
    for larger, smaller in pairwise(needs):
        assert smaller.vram < larger.vram and smaller.seconds >= larger.seconds


def test_a_smaller_picture_of_the_same_shape():
    half = scaled(SMALL, 0.5, 16)
    assert (half.width % 16, half.height % 16, half.num_frames) == (0, 0, 81)
    assert half.pixels <= 0.5 * SMALL.pixels and half.width / half.height == pytest.approx(832 / 480, rel=0.1)


# Without a device


def test_without_a_device_the_cpu_computes():
    made = plan("demo", Geometry(320, 192, 33, 32), vram=0, ram=8)
    assert made.fits and made.forecast.peak_vram == 0 and made.memory.text == "cpu" and not made.is_streamed
    assert made.memory.precision is Precision.FP32


def test_a_cpu_is_slow_and_holds_all_of_a_model():
    spec = registry.find("wan2.1-t2v-14b")
    with_little, with_much = (make_plan(spec, SMALL, without_device(ram * GIB)) for ram in (8, 128))
    assert not with_little.fits and "machine's memory" in with_little.reason
    assert with_much.fits and with_much.forecast.needs["denoising"].seconds > 3600


def test_json_of_a_plan_has_what_scripts_read():
    made = plan().to_dict()
    assert made["fits"] and made["plan"] == str(plan().memory)
    assert made["peak_vram_gib"] <= 7.2 and made["quantization"] == "int8"
    assert set(made["stages"]) == {"encoding text", "loading", "denoising", "decoding"}
    assert made["peak_vram_gib"] == max(stage["vram_gib"] for stage in made["stages"].values())
    assert made["stages"]["denoising"]["vram_gib"] * GIB > WORKSPACE


def test_vace_is_not_promised_what_its_own_blocks_take():
    """They are computed in the libraries' way and leave hints: at least 19 activations, counted on tensors of no
    memory.
    """
    spec = registry.find("wan2.1-vace-14b")
    unit = 2 * 32760 * spec.memory.width
    assert plan("wan2.1-vace-14b", vram=24, precision=Precision.INT8).forecast.needs["denoising"].vram > 19 * unit


def test_a_resident_model_counts_whole_in_every_stage():
    made = make_plan(registry.find("wan2.2-ti2v-5b"), replace(SMALL, passes=100), REFERENCE, Precision.INT8)
    weights = transformer_bytes(registry.find("wan2.2-ti2v-5b").memory, Precision.INT8)
    assert made.memory.residency is Residency.RESIDENT
    for stage in ("encoding text", "denoising", "decoding"):
        assert made.forecast.needs[stage].vram > weights + 4 * 705e6


def test_offload_is_not_chosen_for_weights_that_it_cannot_move():
    spec, room = registry.find("wan2.1-t2v-14b"), replace(REFERENCE, vram=12 * GIB)
    made = make_plan(spec, SMALL, room, None, Residency.OFFLOAD)
    assert made.memory.precision is Precision.BF16 and not made.fits
