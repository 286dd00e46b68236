"""Which attention a plan gets: what the settings name, or what was measured quicker and near enough."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.planning.clips import SMALL, device
from tests.support.requests import make_request
from wan_pipeline.errors import UserError
from wan_pipeline.lora.library import LoraLibrary
from wan_pipeline.models import registry
from wan_pipeline.models.precision import Precision
from wan_pipeline.planning.attention import Attention, SageSpeed, parse_attention, sage_speedup
from wan_pipeline.planning.machine import REFERENCE
from wan_pipeline.planning.memory_plan import MemoryPlan, read_plan
from wan_pipeline.planning.planner import Planner
from wan_pipeline.planning.transformer import pass_seconds
from wan_pipeline.requests.request import LoraChoice
from wan_pipeline.settings import Settings

MEASURED = (SageSpeed(128, 2048, 0.3, 0.03), SageSpeed(128, 8192, 1.5, 0.03), SageSpeed(64, 8192, 1.5, 0.05))
SPEC = registry.find("wan2.1-t2v-14b")


@pytest.mark.parametrize(
    ("head_size", "tokens", "speedup"),
    [(128, 1000, 1.0), (128, 3000, 1.0), (128, 8192, 1.5), (128, 75600, 1.5), (64, 9000, 1.0), (96, 9000, 1.0)],
)
def test_it_must_be_measured_quicker_and_near_enough(head_size, tokens, speedup):
    assert sage_speedup(MEASURED, head_size, tokens) == speedup


def plan_of(settings: Settings, tmp_path, machine=None, text: str = "", **changes: object) -> MemoryPlan:
    request = make_request(model=SPEC.id, width=832, height=480, num_frames=81, **changes)
    planner = Planner(settings, LoraLibrary(tmp_path))
    return planner.choose(request, SPEC, machine or replace(REFERENCE, sage=MEASURED), text).plan


def test_a_plan_names_sage_only_where_it_was_measured(tmp_path):
    assert plan_of(Settings(), tmp_path).attention is Attention.SAGE
    assert plan_of(Settings(), tmp_path, REFERENCE).attention is Attention.FASTEST
    assert plan_of(Settings(), tmp_path, quantization="fp32").attention is Attention.FASTEST
    assert plan_of(Settings(attention="cudnn"), tmp_path).attention is Attention.CUDNN
    assert plan_of(Settings(attention="sage"), tmp_path, REFERENCE).attention is Attention.SAGE


def test_a_whole_plan_keeps_the_attention_that_it_was_made_with(tmp_path):
    assert plan_of(Settings(), tmp_path, text="streamed,int8,chunk=10920").attention is Attention.FASTEST
    assert str(plan_of(Settings(), tmp_path, text="resident,int8,attention=sage")) == "resident,int8,attention=sage"


def test_attention_decides_bits_and_plans_without_one_are_as_they_were():
    plain, sage = read_plan("resident,int8"), read_plan("resident,int8,attention=sage")
    assert plain.arithmetic != sage.arithmetic and "attention" not in plain.arithmetic + str(plain)


def test_forecasts_count_what_was_measured():
    quick = replace(REFERENCE, sage=MEASURED, int8_speed=2 * REFERENCE.matmul_speed)
    plain, both = MemoryPlan(), MemoryPlan(precision=Precision.INT8_COMPUTE, attention=Attention.SAGE)
    assert pass_seconds(SPEC, SMALL, quick, both) < 0.65 * pass_seconds(SPEC, SMALL, quick, plain)
    assert pass_seconds(SPEC, SMALL, REFERENCE, both) == pass_seconds(SPEC, SMALL, REFERENCE, plain)


def test_int8_products_are_never_chosen_unasked_and_keep_loras_beside(tmp_path):
    machine = replace(device(7.2), int8_speed=1e15)
    assert plan_of(Settings(), tmp_path, machine).precision is Precision.INT8
    made = plan_of(Settings(), tmp_path, machine, quantization="int8-compute", loras=(LoraChoice("style", 1.0),))
    assert (made.precision, made.lora) == (Precision.INT8_COMPUTE, "beside")


def test_a_name_that_is_none_is_refused_in_one_sentence():
    assert [parse_attention(name) for name in ("auto", "native", "cudnn", "sage")] == [
        "auto",
        "native",
        "cudnn",
        "sage",
    ]
    with pytest.raises(UserError, match="'flash4' is no way to compute attention; use auto, native, cudnn, sage"):
        parse_attention("flash4")
