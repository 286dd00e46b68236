"""The time before the click: a guess at first, then what this machine took."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from tests.support.requests import make_request
from wan_pipeline.jobs.job import Job, JobState
from wan_pipeline.jobs.throughput import Throughput, estimate, estimate_many
from wan_pipeline.models.registry import DEMO, WAN22_TI2V_5B
from wan_pipeline.progress import Stage
from wan_pipeline.requests.request import GenerationRequest


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
        preview_version=0,
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


def test_the_first_guess_follows_the_model() -> None:
    request = make_request()
    guess = estimate(request, Throughput.learnt(DEMO, []), 0)
    tokens = 9 * 10 * 6
    expected = (
        4 * 2 * tokens * DEMO.denoise_seconds_per_token + 33 * 320 * 192 / 1e6 * DEMO.decode_seconds_per_megapixel
    )
    assert guess.seconds == pytest.approx(expected + 1.0)
    assert (
        estimate(make_request(width=1280, height=704, num_frames=121), Throughput.learnt(WAN22_TI2V_5B, []), 0).seconds
        > 10
    )


def test_guidance_costs_a_second_pass() -> None:
    one, two = (
        estimate(make_request(guidance_scale=scale), Throughput.learnt(DEMO, []), 0).seconds for scale in (1.0, 3.0)
    )
    assert two - one == pytest.approx(4 * 540 * DEMO.denoise_seconds_per_token)


def test_the_same_clip_again_takes_what_it_took() -> None:
    request = make_request()
    learned = estimate(
        request, Throughput.learnt(DEMO, [done(request, denoising=5.0, decoding=3.0, loading=0.5, saving=0.5)]), 0
    )
    assert learned.seconds == pytest.approx(9.0)
    assert learned.text == "about 9 s"


def test_learning_scales_with_the_work() -> None:
    jobs = [done(make_request(num_inference_steps=4), denoising=4.0, decoding=2.0)]
    longer = estimate(make_request(num_inference_steps=16), Throughput.learnt(DEMO, jobs), 0)
    assert longer.seconds == pytest.approx(4 * 4.0 + 2.0)


def test_one_slow_clip_does_not_count() -> None:
    request = make_request()
    jobs = [done(request, denoising=seconds, decoding=1.0, loading=0.0) for seconds in (4.0, 400.0, 4.2)]
    assert estimate(request, Throughput.learnt(DEMO, jobs), 0).seconds == pytest.approx(5.2)


@pytest.mark.parametrize(("ahead", "words"), [(0, ""), (1, ", after 1 other clip"), (3, ", after 3 other clips")])
def test_who_is_ahead(ahead: int, words: str) -> None:
    request = make_request()
    shown = estimate(request, Throughput.learnt(DEMO, [done(request, denoising=5.0, decoding=1.0)]), ahead)
    assert (shown.jobs_ahead, shown.text) == (ahead, f"about 6 s{words}")


def test_a_clip_that_went_on_from_a_checkpoint_teaches_no_pace() -> None:
    request = make_request()
    half = replace(done(request, denoising=0.1, decoding=1.0), resumed_from=3)
    whole = done(request, denoising=4.0, decoding=1.0)
    assert Throughput.learnt(DEMO, [half, half, whole]).seconds(request) == pytest.approx(5.0)


def test_what_is_left_of_a_running_clip_is_told_by_its_stage() -> None:
    request = make_request()
    pace = Throughput.learnt(DEMO, [done(request, denoising=5.0, decoding=3.0, loading=0.5, saving=0.5)])
    job = done(request)

    def left(stage: Stage, eta: float | None) -> float:
        return pace.seconds_left(replace(job, state=JobState.RUNNING, stage=stage, eta_seconds=eta))

    assert left(Stage.QUEUED, None) == left(Stage.LOADING, None) == pytest.approx(9.0)
    assert left(Stage.DENOISING, None) == pytest.approx(8.0)
    assert left(Stage.DENOISING, 2.0) == pytest.approx(5.0)
    assert left(Stage.DECODING, None) == pytest.approx(3.0)
    assert left(Stage.DECODING, 1.0) == 1.0
    assert left(Stage.SAVING, None) == 0.0


def test_many_clips_of_several_models_add_up() -> None:
    paces = {spec.id: Throughput.learnt(spec, []) for spec in (DEMO, WAN22_TI2V_5B)}
    requests = [make_request(), make_request(model=WAN22_TI2V_5B.id)]
    shown = estimate_many(requests, paces, 2)
    assert shown.seconds == pytest.approx(sum(estimate(r, paces[r.model], 0).seconds for r in requests))
    assert (shown.text.startswith("2 clips, about "), shown.text.endswith(", after 2 other clips")) == (True, True)
