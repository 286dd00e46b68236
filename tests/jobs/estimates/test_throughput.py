"""How long clips take: a forecast at first, then what this machine took."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.requests import make_request
from wan_pipeline.jobs.estimates.throughput import Throughput
from wan_pipeline.jobs.job import Job, JobState
from wan_pipeline.models.registry import DEMO, WAN21_VACE_1_3B, WAN22_TI2V_5B
from wan_pipeline.models.spec import ModelSpec
from wan_pipeline.planning.devices import SPLIT_SPEEDUP, Devices
from wan_pipeline.planning.geometry import Geometry
from wan_pipeline.planning.machine import GIB, without_device
from wan_pipeline.planning.selection import select_plan
from wan_pipeline.progress import Stage
from wan_pipeline.requests.own_clip import own_request
from wan_pipeline.requests.request import GenerationRequest

TWO_BRANCHES = Devices(branches=2)


def done(request: GenerationRequest, **seconds: float) -> Job:
    now = datetime.now(UTC)
    return Job(
        id="j",
        state=JobState.DONE,
        request=request,
        created_at=now,
        started_at=now,
        finished_at=now,
        stage=Stage.SAVING,
        step=0,
        total=0,
        eta_seconds=None,
        cancel_requested=False,
        attempts=1,
        error=None,
        clip=None,
        poster=None,
        frames_sha256=None,
        seconds=seconds,
        warnings=(),
        jobs_ahead=0,
    )


def own_forecast(spec: ModelSpec):
    return select_plan(spec, Geometry.of(own_request(spec), spec), without_device(64 * GIB))


def learned(*finished: Job, spec: ModelSpec = DEMO) -> Throughput:
    return Throughput.learned(finished, spec, lambda: own_forecast(spec))


def test_a_clip_of_two_devices_says_how_long_one_takes() -> None:
    request, split = replace(own_request(DEMO), guidance_scale=5.0), Devices(split=2)
    paired = learned(replace(done(request, denoising=10.0, decoding=1.0), devices=TWO_BRANCHES))
    assert paired.seconds(request, TWO_BRANCHES) == pytest.approx(11.0)
    assert paired.seconds(request) == pytest.approx(21.0)
    assert paired.seconds(replace(request, guidance_scale=1.0), TWO_BRANCHES) == pytest.approx(11.0)
    shared = learned(replace(done(request, denoising=10.0, decoding=1.0), devices=split))
    assert shared.seconds(request, split) == pytest.approx(11.0)
    assert shared.seconds(request) == pytest.approx(10.0 * SPLIT_SPEEDUP + 1.0)


@pytest.mark.parametrize("spec", [DEMO, WAN22_TI2V_5B, WAN21_VACE_1_3B])
def test_before_any_clip_the_forecast_of_the_models_own_clip_counts(spec: ModelSpec) -> None:
    assert learned(spec=spec).seconds(own_request(spec)) == pytest.approx(own_forecast(spec).seconds)


def test_on_two_cores_the_demo_model_takes_what_was_measured() -> None:
    """0.15 ms for a latent token and pass, 1.2 s for a million decoded pixels."""
    expected = 4 * 2 * 540 * 1.5e-4 + 33 * 320 * 192 / 1e6 * 1.2
    assert learned().seconds(make_request()) - learned().overhead - learned().loading == pytest.approx(
        expected, rel=0.02
    )


def test_guidance_costs_a_second_pass() -> None:
    one, two = (learned().seconds(make_request(guidance_scale=scale)) for scale in (1.0, 3.0))
    assert two - one == pytest.approx(own_forecast(DEMO).costs[Stage.DENOISING].seconds * 4 / 32)


def test_the_same_clip_again_takes_what_it_took() -> None:
    request = make_request()
    job = done(request, denoising=5.0, decoding=3.0, loading=0.5, saving=0.5)
    assert learned(job).seconds(request) == pytest.approx(9.0)


def test_nothing_is_planned_once_both_rates_are_measured() -> None:
    job = done(make_request(), denoising=5.0, decoding=3.0)
    assert Throughput.learned([job], DEMO, pytest.fail) == learned(job)


def test_learning_scales_with_the_work() -> None:
    job = done(make_request(num_inference_steps=4), denoising=4.0, decoding=2.0)
    assert learned(job).seconds(make_request(num_inference_steps=16)) == pytest.approx(4 * 4.0 + 2.0)


def test_one_slow_clip_does_not_count() -> None:
    request = make_request()
    jobs = [done(request, denoising=seconds, decoding=1.0, loading=0.0) for seconds in (4.0, 400.0, 4.2)]
    assert learned(*jobs).seconds(request) == pytest.approx(5.2)


def test_a_clip_that_resumed_from_a_checkpoint_teaches_nothing_about_denoising() -> None:
    request = make_request()
    half = replace(done(request, denoising=0.1, decoding=1.0), resumed_from=3)
    whole = done(request, denoising=4.0, decoding=1.0)
    assert learned(half, half, whole).seconds(request) == pytest.approx(5.0)


def test_a_clip_whose_request_cannot_be_read_teaches_nothing() -> None:
    unreadable = make_request(width=16, height=16, num_frames=1)  # what stands in for it: not a token of the demo's
    job = replace(done(unreadable, denoising=5.0, decoding=3.0), request_error="It comes from another version.")
    assert learned(job) == learned()


def test_what_is_left_of_a_running_clip_follows_its_stage() -> None:
    request = make_request()
    throughput = learned(done(request, denoising=5.0, decoding=3.0, loading=0.5, saving=0.5))
    job = done(request)

    def left(stage: Stage, eta: float | None) -> float:
        return throughput.seconds_left(replace(job, state=JobState.RUNNING, stage=stage, eta_seconds=eta))

    assert left(Stage.QUEUED, None) == left(Stage.LOADING, None) == pytest.approx(9.0)
    assert left(Stage.DENOISING, None) == pytest.approx(8.0)
    assert left(Stage.DENOISING, 2.0) == pytest.approx(5.0)
    assert left(Stage.DECODING, None) == pytest.approx(3.0)
    assert left(Stage.DECODING, 1.0) == 1.0
    assert left(Stage.SAVING, None) == 0.0


def test_12_the_time_between_the_stages_counts() -> None:
    """A clip took longer than the sum of its stages, and the next estimate knew only the sum."""
    job = done(make_request(), denoising=5.0, decoding=3.0)
    took = replace(job, finished_at=job.started_at + timedelta(seconds=10))
    assert learned(took).seconds(make_request()) == pytest.approx(10.0)
    assert learned(replace(took, attempts=2)).seconds(make_request()) == pytest.approx(8.0)
