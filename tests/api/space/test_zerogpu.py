"""ZeroGPU's way, in this process and on the CPU: `spaces` does nothing outside of a Space, and the same code runs."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import GeneratorType

import gradio as gr
import pytest

from tests.support.observers import Recorder
from tests.support.studios import ENDLESS, QUICK, finish, is_denoising, opened, started_workers, wait_for
from wan_pipeline import errors
from wan_pipeline.api.space.zerogpu import (
    MAX_SECONDS,
    MIN_SECONDS,
    Failure,
    GpuRenderer,
    GpuTask,
    ZeroGpu,
    decorated,
    gpu_seconds,
)
from wan_pipeline.errors import (
    Cancelled,
    DiskFullError,
    GenerationError,
    ModelError,
    OutOfMemory,
    RequestError,
    StudioError,
)
from wan_pipeline.jobs.job import JobState
from wan_pipeline.progress import Progress, SilentObserver, Stage
from wan_pipeline.requests.request import Draft, GenerationRequest
from wan_pipeline.settings import Settings
from wan_pipeline.studio import Studio


@pytest.fixture
def studio(settings: Settings) -> Iterator[Studio]:
    with Studio(settings, ZeroGpu().supervisor) as studio:
        studio.start()
        yield studio


@pytest.fixture
def task(settings: Settings, studio: Studio) -> GpuTask:
    return decorated(settings, studio.jobs)


def request_of(studio: Studio, draft: Draft) -> GenerationRequest:
    return studio.requests.resolve(draft)


@pytest.mark.soak
def test_a_clip_is_made_in_this_process_with_the_same_frames(settings: Settings, tmp_path: Path) -> None:
    with Studio(settings, ZeroGpu().supervisor) as studio:
        studio.start()
        job_id = studio.submit(QUICK)
        wait_for(lambda: not studio.jobs.existing(job_id).is_active, "the clip")
        job = studio.jobs.existing(job_id)
        assert (job.state, job.error) == (JobState.DONE, None)
        assert studio.jobs.queue_state().worker_pid == os.getpid()
        assert started_workers() == []
        second = studio.submit(QUICK)
        wait_for(lambda: not studio.jobs.existing(second).is_active, "the second clip")
    wait_for(lambda: not studio.jobs.unfinished(), "the worker")
    with opened(Settings(**{**vars(settings), "workspace": tmp_path / "other"})) as other:
        (expected,) = finish(other, other.settings, QUICK)
    assert job.frames_sha256 == expected.frames_sha256 == studio.jobs.existing(second).frames_sha256


@pytest.mark.soak
def test_a_clip_can_be_cancelled_and_the_next_one_is_made(studio: Studio) -> None:
    endless, quick = studio.submit(ENDLESS), studio.submit(QUICK)
    wait_for(lambda: is_denoising(studio, endless), "the first step")
    studio.queue.cancel(endless)
    wait_for(lambda: not studio.jobs.existing(quick).is_active, "the next clip")
    assert studio.jobs.existing(endless).state is JobState.CANCELLED
    assert studio.jobs.existing(quick).state is JobState.DONE


def test_all_that_goes_to_the_gpus_process_and_back_can_be_pickled(studio: Studio, task: GpuTask) -> None:
    request = request_of(studio, QUICK)
    call = pickle.loads(pickle.dumps((request, Path("x.safetensors"), "")))  # noqa: S301
    items = [pickle.loads(pickle.dumps(item)) for item in task(call[0], None, call[2])]  # noqa: S301
    stages = [item.stage for item in items if isinstance(item, Progress)]
    assert stages[0] is Stage.ENCODING_TEXT
    assert Stage.DENOISING in stages
    assert items[-1].frames.shape == (5, 160, 160, 3)
    assert items[-1].provenance


def test_all_errors_can_be_pickled() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, StudioError)]
    for kind in kinds:
        arguments = {
            RequestError: ("steps", "too many"),
            OutOfMemory: ("full", "offload"),
            DiskFullError: ("full", Path("clips")),
        }
        error = kind(*arguments.get(kind, ("a sentence",)))
        again = pickle.loads(pickle.dumps(error))  # noqa: S301
        assert (type(again), str(again), vars(again)) == (kind, str(error), vars(error))


def test_what_the_engine_raises_comes_back(studio: Studio, task: GpuTask) -> None:
    unknown = replace(request_of(studio, QUICK), model="no-such-model")
    with pytest.raises(ModelError, match="no-such-model"):
        GpuRenderer(task).render(unknown, SilentObserver())


def test_an_observer_that_cancels_ends_the_call(studio: Studio, task: GpuTask) -> None:
    calls: list[Iterator[object]] = []

    def watched(*arguments: object) -> Iterator[object]:
        calls.append(task(*arguments))  # type: ignore[arg-type]
        return calls[-1]

    observer = Recorder(stop_at=(Stage.DENOISING, 1))
    with pytest.raises(Cancelled):
        GpuRenderer(watched).render(request_of(studio, ENDLESS), observer)  # type: ignore[arg-type]
    (call,) = calls
    assert isinstance(call, GeneratorType)
    assert call.gi_frame is None, "it is closed, and its thread has ended"


@pytest.mark.parametrize(
    ("raised", "sentence"),
    [(gr.Error("You have exceeded your quota"), "exceeded your quota"), (RuntimeError("no GPU"), "no GPU")],
)
def test_when_there_is_no_gpu_the_clip_fails_with_the_reason(studio: Studio, raised: Exception, sentence: str) -> None:
    def refused(*arguments: object) -> Iterator[object]:
        raise raised
        yield

    with pytest.raises(GenerationError, match=sentence):
        GpuRenderer(refused).render(request_of(studio, QUICK), SilentObserver())  # type: ignore[arg-type]


def test_what_ends_without_frames(studio: Studio) -> None:
    request = request_of(studio, QUICK)
    with pytest.raises(GenerationError, match="taken away"):
        GpuRenderer(lambda *_: iter([None])).render(request, SilentObserver())
    with pytest.raises(GenerationError, match="ValueError: x"):
        GpuRenderer(lambda *_: iter([Failure(None, "ValueError: x")])).render(request, SilentObserver())


def test_the_time_is_asked_for_by_the_forecast(studio: Studio) -> None:
    seconds = partial(gpu_seconds, studio.estimates)
    quick, endless = seconds(request_of(studio, QUICK)), seconds(request_of(studio, ENDLESS))
    assert MIN_SECONDS <= quick <= endless <= MAX_SECONDS
    assert isinstance(quick, int)
