"""Plans have their pointwise operations fused where that was measured to be quicker."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.planning.clips import SMALL, device
from wan_pipeline.models import registry
from wan_pipeline.models.precision import Precision
from wan_pipeline.planning.hardware import Hardware, Speeds
from wan_pipeline.planning.machine import REFERENCE, without_device
from wan_pipeline.planning.memory_plan import read_plan
from wan_pipeline.planning.selection import select_plan
from wan_pipeline.planning.transformer import pass_seconds

SPEC = registry.find("wan2.1-t2v-14b")
FAST = replace(REFERENCE, fused=True)


@pytest.mark.parametrize("precision", [None, Precision.INT8, Precision.INT8_COMPUTE, Precision.BF16])
@pytest.mark.parametrize("machine", [FAST, replace(device(7.2), fused=True)])
def test_resident_and_streamed_alike_and_in_the_memory_of_the_chunked_forward(precision, machine):
    made = select_plan(SPEC, SMALL, machine, precision)
    assert made.plan.fused and made.plan.chunk
    assert made.peak_vram <= select_plan(SPEC, SMALL, replace(machine, fused=False), precision).peak_vram


def test_only_where_it_was_measured_and_can_be():
    assert not select_plan(SPEC, SMALL, REFERENCE).plan.fused
    assert not select_plan(SPEC, SMALL, FAST, compiled=True).plan.fused
    assert not select_plan(SPEC, SMALL, FAST, Precision.FP32).plan.fused
    assert not select_plan(SPEC, SMALL, replace(without_device(64e9), fused=True)).plan.fused


@pytest.mark.parametrize(("speedup", "fused"), [(None, False), (0.0, False), (1.04, False), (3.0, True)])
def test_the_machine_has_it_if_it_is_quicker(speedup, fused):
    speeds = Speeds(1e12, 1e12, 1e10, fused=speedup)
    assert Hardware("cuda", "a card", 8, 8, 8, 8, speeds).machine.fused is fused


def test_it_changes_bits_and_is_told_in_the_plan():
    plan = read_plan("streamed,int8,chunk=10920,fused")
    assert plan.fused and str(plan) == "streamed,int8,chunk=10920,fused"
    assert plan.arithmetic != replace(plan, fused=False).arithmetic
    assert str(replace(plan, fused=False)) == "streamed,int8,chunk=10920"


def test_forecasts_count_what_was_measured():
    """On an H100, of the stock pass in bf16: 0.838 at 832x480 and 0.887 at 1280x720."""
    stock, fused = read_plan("resident,bf16"), read_plan("resident,bf16,chunk=10920,fused")
    for clip, wanted in ((SMALL, 0.838), (replace(SMALL, width=1280, height=720), 0.887)):
        ratio = pass_seconds(SPEC, clip, FAST, fused) / pass_seconds(SPEC, clip, FAST, stock)
        assert ratio == pytest.approx(wanted, abs=0.02)
