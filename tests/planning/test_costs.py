"""What stages cost: near what was measured, and growing with what makes them larger."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from tests.planning.clips import CLIPS, RELEASED, SMALL, device, plan
from wan_pipeline.models import registry
from wan_pipeline.models.precision import Precision
from wan_pipeline.planning.costs import decoding_cost, encoding_cost
from wan_pipeline.planning.forecast import forecast
from wan_pipeline.planning.geometry import Geometry
from wan_pipeline.planning.machine import GIB, REFERENCE
from wan_pipeline.planning.memory_plan import MemoryPlan, Residency, read_plan
from wan_pipeline.planning.selection import select_plan
from wan_pipeline.planning.transformer import activation_bytes, pass_seconds, transformer_bytes
from wan_pipeline.requests.sampling.step_cache import CacheKind


@pytest.mark.parametrize(
    ("model", "width", "height", "gib"),
    [
        ("wan2.1-t2v-14b", 832, 480, 6.142),
        ("wan2.1-t2v-14b", 1280, 720, 12.195),
        ("wan2.1-t2v-14b", 1920, 1088, 27.174),
        ("wan2.1-t2v-1.3b", 832, 480, 2.513),
    ],
)
def test_peak_activations_of_int8_are_near_those_measured_on_the_reference(model, width, height, gib):
    spec = registry.find(model)
    tokens = Geometry(width, height, 81, 2).tokens(spec)
    made = activation_bytes(spec.memory, tokens, MemoryPlan(precision=Precision.INT8))
    assert made / GIB == pytest.approx(gib, rel=0.1)


def test_a_pass_of_the_14b_model_takes_what_was_measured_on_the_reference():
    assert pass_seconds(registry.find("wan2.1-t2v-14b"), SMALL, REFERENCE, MemoryPlan()) == pytest.approx(3.40, rel=0.1)


@pytest.mark.parametrize("model", RELEASED)
@pytest.mark.parametrize(
    "text", ["resident,bf16", "offload,bf16", "streamed,int8,blocks=3,chunk=8192", "resident,int4"]
)
def test_a_longer_or_larger_clip_needs_no_less(model, text):
    sizes = ((832, 480, 41), (832, 480, 81), (1280, 704, 81), (1280, 704, 121), (1920, 1088, 121))
    clips = [Geometry(*size, 100, encodes=True) for size in sizes]
    made = [forecast(registry.find(model), clip, device(80), read_plan(text)) for clip in clips]
    for smaller, larger in pairwise(made):
        assert smaller.seconds < larger.seconds
        for stage, cost in smaller.costs.items():
            assert cost.vram <= larger.costs[stage].vram and cost.ram <= larger.costs[stage].ram


def test_a_first_block_cache_and_encoded_images_need_more():
    spec = registry.find("wan2.1-i2v-14b-480p")
    plain, cached, encoded = (
        forecast(spec, clip, device(80), MemoryPlan())
        for clip in (SMALL, replace(SMALL, cache=CacheKind.FIRST_BLOCK), replace(SMALL, encodes=True))
    )
    assert cached.costs["denoising"].vram > plain.costs["denoising"].vram
    assert encoded.costs["denoising"].seconds > plain.costs["denoising"].seconds
    whole, tiles = (encoding_cost(spec.memory, CLIPS[2], device(80), encode) for encode in ("whole", "tiles"))
    assert tiles.vram < whole.vram and tiles.seconds > whole.seconds


def test_smaller_tiles_take_less_memory_and_more_time():
    facts = registry.find("wan2.1-t2v-14b").memory
    costs = [decoding_cost(facts, SMALL, device(), MemoryPlan(tile=tile)) for tile in (0, 512, 384, 256, 128, 64, 1)]
    for larger, smaller in pairwise(costs):
        assert smaller.vram < larger.vram and smaller.seconds >= larger.seconds


def test_vace_is_not_promised_what_its_own_blocks_take():
    """They keep the stock forward and leave hints: at least 19 activations, counted on tensors of the meta device."""
    spec = registry.find("wan2.1-vace-14b")
    unit = 2 * 32760 * spec.memory.width
    assert plan("wan2.1-vace-14b", vram=24, precision=Precision.INT8).costs["denoising"].vram > 19 * unit


def test_a_resident_model_counts_in_every_stage():
    spec = registry.find("wan2.2-ti2v-5b")
    made = select_plan(spec, SMALL, REFERENCE, Precision.INT8)
    assert made.plan.residency is Residency.RESIDENT
    for stage in ("encoding text", "denoising", "decoding"):
        assert made.costs[stage].vram > transformer_bytes(spec.memory, Precision.INT8) + 4 * 705e6
