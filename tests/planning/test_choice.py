"""Which plan a clip gets: its own text before the settings', the settings' before the planner's; never over a limit."""

from __future__ import annotations

import pytest

from tests.support.requests import make_request
from wan_pipeline.errors import GenerationError
from wan_pipeline.models import registry
from wan_pipeline.models.precision import Precision
from wan_pipeline.planning.choice import Chooser, geometry
from wan_pipeline.planning.costs import GIB, REFERENCE, Machine, without_device
from wan_pipeline.planning.memory_plan import Residency, read_plan
from wan_pipeline.settings import Settings

SPEC = registry.find("wan2.1-t2v-14b")
CLIP = {"model": SPEC.id, "width": 832, "height": 480, "num_frames": 81}


def choose(request=None, machine: Machine = REFERENCE, text="", **settings):
    chooser = Chooser(Settings(**settings))
    return chooser.choose(request or make_request(**CLIP), SPEC, machine, text)


def test_the_planner_chooses_where_nobody_says():
    assert choose().memory.residency is Residency.RESIDENT and choose().memory.precision is Precision.BF16
    assert choose(make_request(**CLIP, quantization="fp8")).memory.precision is Precision.FP8
    assert choose(compiled=True).memory.compiled


def test_a_limit_counts_as_all_there_is():
    limited = choose(memory_limit=7.2)
    assert limited.fits and limited.forecast.peak_vram <= 7.2 * GIB
    assert limited.memory.residency is Residency.STREAMED
    assert choose(memory_limit=500.0).memory == choose().memory
    assert choose(machine=without_device(64 * GIB), memory_limit=1.0).fits  # a CPU has no memory of a device


def test_a_little_of_what_is_free_is_left_alone():
    need = choose().forecast.peak_vram
    tight = Machine(need * 1.01, REFERENCE.ram)
    assert choose(machine=tight).memory != choose().memory


@pytest.mark.parametrize("only", list(Residency))
def test_one_kind_of_plan_may_be_wished_for(only):
    assert choose(plan=only.value).memory.residency is only
    assert choose(text=only.value, plan="resident").memory.residency is only


def test_the_text_of_a_whole_plan_is_followed_whether_it_fits_or_not():
    text = "streamed,int8,blocks=3,chunk=4096,text=cpu,tile=128"
    assert choose(text=text, plan="resident", memory_limit=7.2).memory == read_plan(text)
    assert choose(plan=text).memory == read_plan(text)
    over = choose(text="resident,fp32", memory_limit=7.2)
    assert not over.fits and str(over.memory) == "resident,fp32" and "choose a smaller size" in over.reason


@pytest.mark.parametrize("text", ["huge", "resident,", "streamed,int8,blocks=many"])
def test_what_is_no_plan_is_a_sentence(text):
    with pytest.raises(GenerationError, match="is not a memory plan; use resident, offload, streamed, or"):
        choose(text=text)
    with pytest.raises(GenerationError, match="is not a memory plan"):
        choose(plan=text)


def test_the_next_smaller_plan_keeps_a_wished_precision_and_the_limit():
    chooser = Chooser(Settings(memory_limit=30.0))
    for quantization in (None, "bf16"):
        request = make_request(**CLIP, quantization=quantization)
        first = chooser.choose(request, SPEC, REFERENCE)
        second = chooser.smaller(request, SPEC, REFERENCE, first.memory)
        assert second is not None and second != first.memory
        assert quantization is None or second.precision is Precision.BF16


def test_geometry_is_what_of_a_request_takes_memory():
    plain = geometry(make_request(num_inference_steps=10))
    assert (plain.passes, plain.encodes, plain.caches) == (20, False, False)
    assert geometry(make_request(guidance_scale=1.0, num_inference_steps=10)).passes == 10
    assert geometry(make_request(image="a")).encodes and geometry(make_request(control_video="a")).encodes
    assert geometry(make_request(reference_images=("a",))).encodes
    assert geometry(make_request(first_block_cache=0.1)).caches


def test_a_full_device_stays_a_device_whatever_lies_beside():
    full = Machine(vram=1, ram=64 * GIB)
    chosen = Chooser(Settings()).choose(make_request(**CLIP), SPEC, full, beside=GIB)
    assert not chosen.fits and chosen.memory.precision is Precision.INT8


def test_loras_take_room():
    request, chooser = make_request(**CLIP, quantization="int8"), Chooser(Settings(memory_limit=22.0))
    alone, with_lora = (chooser.choose(request, SPEC, REFERENCE, beside=beside) for beside in (0.0, 8 * GIB))
    assert with_lora.forecast.peak_vram <= 14 * GIB < alone.forecast.peak_vram
