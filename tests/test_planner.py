"""The planner's promises: never more than there is, never slower with more, and the measured cases nearly right."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from wan_pipeline.engine.planner import GIB, REFERENCE, Geometry, make_plan, without_device
from wan_pipeline.engine.precision import Precision
from wan_pipeline.models import registry
from wan_pipeline.models.spec import Availability

RELEASED = [spec.id for spec in registry.MODELS.values() if spec.availability is not Availability.ANNOUNCED]
SIZES = [0.0, 1, 2, 4, 6, 7.2, 8, 10.8, 12, 16, 22, 24, 32, 48, 80]
SMALL = Geometry(832, 480, 81, 100)


def plan(model="wan2.1-t2v-14b", clip=SMALL, vram=7.2, ram=64.0, precision=None, **machine):
    return make_plan(
        registry.find(model), clip, replace(REFERENCE, vram=vram * GIB, ram=ram * GIB, **machine), precision
    )


@pytest.mark.parametrize("model", RELEASED)
@pytest.mark.parametrize("ram", [8, 16, 32, 64, 128])
def test_what_fits_is_never_over_the_cap_and_what_does_not_says_what_to_change(model, ram):
    for vram in SIZES:
        for width, height, frames in ((480, 832, 33), (832, 480, 81), (1280, 704, 121), (1920, 1088, 161)):
            made = plan(model, Geometry(width, height, frames, 80), vram, ram)
            inside = made.forecast.peak_vram <= vram * GIB and made.forecast.ram <= ram * GIB
            assert made.fits == inside == (not made.reason)
            if not made.fits:
                assert "GiB" in made.reason and "choose" in made.reason


@pytest.mark.parametrize("precision", [Precision.BF16, Precision.INT8])
@pytest.mark.parametrize("model", ["wan2.1-t2v-1.3b", "wan2.1-t2v-14b", "wan2.2-t2v-a14b", "wan2.2-ti2v-5b"])
def test_more_memory_is_never_slower_and_never_fits_less(model, precision):
    made = [plan(model, vram=vram, ram=128, precision=precision) for vram in SIZES[1:]]
    fitting = [step for step in made if step.fits]
    assert [step.fits for step in made] == sorted(step.fits for step in made) and fitting
    seconds = [sum(step.forecast.seconds.values()) for step in fitting]
    assert seconds == sorted(seconds, reverse=True)


def test_a_longer_or_larger_clip_needs_no_less():
    forecasts = [
        plan(clip=Geometry(width, height, frames, 100), precision=Precision.INT8).forecast
        for width, height, frames in ((832, 480, 41), (832, 480, 81), (1280, 720, 81), (1280, 720, 121))
    ]
    for smaller, larger in pairwise(forecasts):
        assert sum(smaller.seconds.values()) < sum(larger.seconds.values())
        assert smaller.vram["decoding"] <= larger.vram["decoding"]


@pytest.mark.parametrize(
    ("vram", "measured", "streams"),
    [(5.5, 5.2, True), (80.0, 18.5, False)],
)
def test_measured_peaks_of_the_14b_model_at_480p(vram, measured, streams):
    """Of denoising, GiB; the resident one was measured with what loading had left behind."""
    made = plan(vram=vram, precision=Precision.INT8)
    assert made.is_streamed == streams
    assert made.forecast.vram["denoising"] / GIB == pytest.approx(measured, rel=0.1)


def test_measured_peak_at_720p_in_one_piece():
    made = plan(clip=replace(SMALL, width=1280, height=720), vram=10.3, precision=Precision.INT8)
    assert made.chunk_tokens == 0
    assert made.forecast.vram["denoising"] / GIB == pytest.approx(10.0, rel=0.1)


def test_measured_step_of_the_14b_model_on_the_reference():
    made = plan(clip=replace(SMALL, passes=100), vram=80, precision=Precision.BF16)
    loading = 40 * 351e6 * 2 * (1 / REFERENCE.disk_speed + 1 / REFERENCE.copy_speed)
    assert (made.forecast.seconds["denoising"] - loading) / 100 == pytest.approx(3.40, rel=0.05)


def test_the_cards_of_the_issue():
    assert plan(vram=7.2, ram=32).fits
    assert plan(clip=replace(SMALL, width=1280, height=720), vram=7.2, ram=32).fits
    assert plan(clip=replace(SMALL, width=1920, height=1088), vram=10.8, ram=32).fits
    both = plan("wan2.2-t2v-a14b", vram=7.2, ram=48)
    assert both.fits and both.precision is Precision.INT8 and both.experts_on_disk == 0


def test_int8_only_where_bf16_would_have_to_stream():
    assert plan(vram=7.2).precision is Precision.INT8
    large = plan(vram=78, ram=200)
    assert large.precision is Precision.BF16 and not large.is_streamed and not large.chunk_tokens


def test_short_of_memory_an_expert_is_read_from_the_disk():
    experts = [plan("wan2.2-t2v-a14b", vram=7.2, ram=ram) for ram in (48, 24, 8)]
    assert [made.experts_on_disk for made in experts] == [0, 1, 2] and all(made.fits for made in experts)
    slow = plan("wan2.2-t2v-a14b", vram=7.2, ram=8, disk_speed=0.2e9)
    assert slow.forecast.seconds["denoising"] > 2 * experts[2].forecast.seconds["denoising"]


def test_a_wish_for_a_precision_is_kept():
    for precision in Precision:
        assert plan(precision=precision).precision is precision


def test_without_a_device_the_cpu_computes():
    made = plan("demo", Geometry(320, 192, 33, 32), vram=0, ram=8)
    assert made.fits and made.forecast.peak_vram == 0 and made.text == "cpu" and not made.is_streamed


def test_a_cpu_is_slow_and_holds_all_of_a_model():
    spec = registry.find("wan2.1-t2v-14b")
    with_little, with_much = (make_plan(spec, SMALL, without_device(ram * GIB)) for ram in (8, 128))
    assert not with_little.fits and "machine's memory" in with_little.reason
    assert with_much.fits and with_much.forecast.seconds["denoising"] > 3600
