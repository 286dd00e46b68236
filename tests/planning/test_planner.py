"""Which plan a clip gets: its own before the settings', the settings' before the fastest; never over a limit."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support.requests import make_request
from wan_pipeline.errors import GenerationError
from wan_pipeline.lora.library import LoraLibrary
from wan_pipeline.models import registry
from wan_pipeline.models.precision import Precision
from wan_pipeline.planning.devices import SPLIT_FROM
from wan_pipeline.planning.geometry import Geometry
from wan_pipeline.planning.machine import GIB, REFERENCE, Machine, without_device
from wan_pipeline.planning.memory_plan import Residency, read_plan
from wan_pipeline.planning.planner import SPARE, Planner
from wan_pipeline.progress import Stage
from wan_pipeline.requests.request import LoraChoice
from wan_pipeline.settings import Settings

SPEC = registry.find("wan2.1-t2v-14b")
CLIP = {"model": SPEC.id, "width": 832, "height": 480, "num_frames": 81}


def planner(**settings) -> Planner:
    settings = Settings(**settings)
    return Planner(settings, LoraLibrary(settings.loras))


def choose(request=None, machine: Machine = REFERENCE, text="", **settings):
    return planner(**settings).choose(request or make_request(**CLIP), SPEC, machine, text)


@pytest.fixture
def lora(tmp_path):
    """A LoRA of 8 GiB, none of which is on the disk."""
    with (tmp_path / "large.safetensors").open("wb") as file:
        file.truncate(8 * GIB)
    return LoraChoice("large")


def test_the_planner_chooses_where_nobody_else_does():
    assert choose().plan.residency is Residency.RESIDENT and choose().plan.precision is Precision.BF16
    assert choose(make_request(**CLIP, quantization="fp8")).plan.precision is Precision.FP8
    assert choose(compiled=True).plan.compiled


def test_a_limit_counts_as_all_there_is():
    limited = choose(memory_limit=7.2)
    assert limited.fits and limited.peak_vram <= 7.2 * GIB
    assert limited.plan.residency is Residency.STREAMED
    assert limited == choose(machine=Machine(**{**vars(REFERENCE), "vram": 7.2 * GIB}))
    assert choose(memory_limit=500.0) == choose()
    assert choose(machine=without_device(64 * GIB), memory_limit=1.0).fits  # a CPU has no memory of a device


def test_a_little_of_what_is_free_is_left_to_others():
    peak = choose().peak_vram
    tight = Machine(peak * 1.01, REFERENCE.ram)
    assert choose(machine=tight).plan != choose().plan
    assert choose(machine=tight).peak_vram <= (1 - SPARE) * tight.vram


@pytest.mark.parametrize("only", list(Residency))
def test_one_residency_may_be_asked_for(only):
    assert choose(plan=only.value).plan.residency is only
    assert choose(text=only.value, plan="resident").plan.residency is only


def test_the_text_of_a_whole_plan_is_followed_whether_it_fits_or_not():
    text = "streamed,int8,blocks=3,chunk=4096,text=cpu,tile=128"
    assert choose(text=text, plan="resident", memory_limit=7.2).plan == read_plan(text)
    assert choose(plan=text).plan == read_plan(text)
    over = choose(text="resident,fp32", memory_limit=7.2)
    assert not over.fits and str(over.plan) == "resident,fp32" and "choose a smaller size" in over.reason


@pytest.mark.parametrize("text", ["huge", "resident,", "streamed,int8,blocks=many"])
def test_what_is_no_plan_is_a_sentence(text):
    with pytest.raises(GenerationError, match="is not a memory plan; use resident, offload, streamed, or"):
        choose(text=text)
    with pytest.raises(GenerationError, match="is not a memory plan"):
        choose(plan=text)


def test_the_next_smaller_plan_keeps_a_requested_precision_and_the_limit():
    limited = planner(memory_limit=30.0)
    for quantization in (None, "bf16"):
        request = make_request(**CLIP, quantization=quantization)
        first = limited.choose(request, SPEC, REFERENCE)
        second = limited.smaller(request, SPEC, REFERENCE, first.plan)
        assert second is not None and second != first.plan
        assert quantization is None or second.precision is Precision.BF16


def test_a_full_device_stays_a_device_whatever_the_loras_take(lora, tmp_path):
    full = Machine(vram=1, ram=64 * GIB)
    chosen = choose(make_request(**CLIP, loras=(lora,)), full, loras=tmp_path)
    assert not chosen.fits and chosen.plan.precision is Precision.INT8


def test_loras_take_memory_of_the_device(lora, tmp_path):
    alone, with_lora = (
        choose(make_request(**CLIP, quantization="int8", loras=loras), loras=tmp_path, memory_limit=23.0)
        for loras in ((), (lora,))
    )
    assert alone.fits and alone.plan.residency is Residency.RESIDENT
    assert with_lora.fits and with_lora.plan.residency is Residency.STREAMED
    assert with_lora.peak_vram <= (1 - SPARE) * 23 * GIB < alone.peak_vram + 8 * GIB


@pytest.mark.parametrize(
    ("text", "share"),
    [("resident", 1), ("offload", 1), ("streamed,int8", 2 / 40), ("streamed,int8,blocks=8", 10 / 40)],
)
def test_streamed_blocks_carry_their_share_of_a_lora(lora, tmp_path, text, share):
    alone, with_lora = (
        choose(make_request(**CLIP, loras=loras), text=text, loras=tmp_path).costs for loras in ((), (lora,))
    )
    added = with_lora[Stage.DENOISING].vram - alone[Stage.DENOISING].vram
    assert added == pytest.approx(share * 8 * GIB)
    beside_decoding = with_lora[Stage.DECODING].vram - alone[Stage.DECODING].vram
    assert beside_decoding == (8 * GIB if text == "resident" else 0)


def test_a_lora_that_is_missing_takes_none(tmp_path):
    chosen = choose(make_request(**CLIP, loras=(LoraChoice("ghost"),)), loras=tmp_path)
    assert replace(chosen, plan=replace(chosen.plan, lora="beside")) == choose() != chosen


def test_a_second_device_gets_a_branch_where_that_is_possible_and_of_use():
    two = replace(REFERENCE, second=REFERENCE.vram)
    alone, paired = choose(), choose(machine=two)
    assert paired.plan == replace(alone.plan, branches=2) and paired.seconds < 0.8 * alone.seconds
    told = paired.to_dict()
    assert (told["branches"], told["second_vram_gib"]) == (2, told["stages"]["denoising"]["vram_gib"])
    assert choose(machine=replace(two, second=alone.peak_vram / 2)).plan == alone.plan
    assert choose(make_request(**CLIP, first_block_cache=0.08), two).plan.devices.is_one
    assert choose(make_request(**CLIP, guidance_interval=(0.0, 0.9)), two).plan.branches == 2
    assert choose(machine=two, memory_limit=7.2).plan.devices.is_one
    assert choose(machine=two, compiled=True).plan.devices.is_one
    smaller = planner().smaller(make_request(**CLIP), SPEC, two, paired.plan)
    assert smaller == alone.plan


def test_a_clip_without_guidance_is_split_where_that_is_quicker():
    two, plain = replace(REFERENCE, second=REFERENCE.vram), make_request(**CLIP, guidance_scale=1.0)
    alone, split = choose(plain), choose(plain, two)
    told, cost, whole = split.to_dict(), split.costs[Stage.DENOISING], alone.costs[Stage.DENOISING]
    assert split.plan == replace(alone.plan, split=2) and cost.seconds < 0.6 * whole.seconds
    assert (told["branches"], told["split"]) == (1, 2)
    assert told["second_vram_gib"] == told["stages"]["denoising"]["vram_gib"] > 0
    assert cost.vram < whole.vram, "half of the tokens, and what is exchanged"
    short = replace(plain, num_frames=13)
    assert Geometry.of(short, SPEC).tokens(SPEC) < SPLIT_FROM and choose(short, two).plan.devices.is_one
    assert choose(plain, replace(two, second=cost.vram / 2)).plan == alone.plan
    assert choose(replace(plain, first_block_cache=0.08), two).plan.devices.is_one
    assert choose(plain, two, compiled=True).plan.devices.is_one
    assert planner().choose(plain, SPEC, two, may_split=False).plan == alone.plan
    assert planner().choose(make_request(**CLIP), SPEC, two, may_split=False).plan.branches == 2
    assert planner().smaller(plain, SPEC, two, split.plan) == alone.plan
