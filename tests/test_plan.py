"""The ladder of memory plans."""

from __future__ import annotations

import pytest

from wan_pipeline.engine.plan import LADDER, find_plan, smaller_plan
from wan_pipeline.errors import GenerationError


def test_no_name_means_the_roomiest():
    assert find_plan("") is LADDER[0] and not LADDER[0].offloads and not LADDER[0].tiles


@pytest.mark.parametrize("plan", LADDER)
def test_every_plan_is_found_by_its_name(plan):
    assert find_plan(plan.name) is plan


def test_an_unknown_name_is_a_sentence():
    with pytest.raises(GenerationError, match="no memory plan 'none'"):
        find_plan("none")


def test_down_the_ladder():
    assert [smaller_plan(plan, on_cpu=False) for plan in LADDER] == ["offload", "tiled", None]


def test_on_the_cpu_a_plan_that_only_offloads_is_no_help():
    assert [smaller_plan(plan, on_cpu=True) for plan in LADDER] == ["tiled", "tiled", None]
