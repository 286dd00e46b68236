"""Requests are stored as JSON and come back as they were."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import pytest

from tests.support.queues import OpenQueue
from tests.support.requests import make_request
from wan_pipeline.errors import RequestError
from wan_pipeline.jobs.job import JobState
from wan_pipeline.models.spec import Mode
from wan_pipeline.requests.request import GenerationRequest, LoraChoice
from wan_pipeline.requests.sampling.scheduler import SchedulerName
from wan_pipeline.requests.stored import UNREADABLE, read_request
from wan_pipeline.storage.database import Database


@pytest.mark.parametrize(
    "request_",
    [
        make_request(),
        make_request(prompt='"quotes", <b>HTML</b>\n\t红球 🎈', preset="noir"),
        make_request(mode=Mode.IMAGE_TO_VIDEO, image="ab" * 32, scheduler=SchedulerName.DPMPP),
        make_request(loras=(LoraChoice("one", 0.5), LoraChoice("two", -1.0))),
    ],
)
def test_json_round_trip(request_: GenerationRequest) -> None:
    again = GenerationRequest.from_json(request_.to_json())
    assert again == request_
    assert isinstance(again.mode, Mode)
    assert isinstance(again.scheduler, SchedulerName)


def test_a_request_never_changes() -> None:
    with pytest.raises(FrozenInstanceError):
        make_request().seed = 1  # type: ignore[misc]


def test_the_length_counts_from_the_first_frame_to_the_last() -> None:
    assert make_request(num_frames=33, fps=16).seconds == 2.0


def test_a_request_of_the_first_version_is_read() -> None:
    """Settings that came later have their defaults."""
    stored = make_request(mode=Mode.IMAGE_TO_VIDEO, image="ab" * 32).to_dict()
    later = ("guidance_scale_2", "last_image", "control_video", "control_mask", "reference_images", "quantization")
    for name in (*later, "first_block_cache"):
        del stored[name]
    assert GenerationRequest.from_dict(stored) == make_request(mode=Mode.IMAGE_TO_VIDEO, image="ab" * 32)


BAD_VALUES = [
    ({"shutter": 1}, "shutter", "'shutter' is not a known key"),
    ({"seed": ...}, "seed", "'seed' is missing"),
    ({"seed": -1}, "seed", "'seed' = -1: Input should be greater than or equal to 0"),
    ({"seed": 2**64}, "seed", "'seed' = 18446744073709551616"),
    ({"mode": "mime"}, "mode", "'mode' = 'mime': Input should be 'text-to-video' or 'image-to-video'"),
    ({"scheduler": "heun"}, "scheduler", "'scheduler' = 'heun'"),
    ({"loras": [{"file": "x"}]}, "loras", "'loras.0.name' is missing"),
    ({"loras": [{"name": "x", "file": "x"}]}, "loras", "'loras.0.file' is not a known key"),
    ({"loras": [{"name": 1}]}, "loras", "'loras.0.name' = 1"),
    ({"loras": [{"name": "x", "weight": 1e308}]}, "loras", "'loras.0.weight' = 1e+308"),
    ({"loras": None}, "loras", "'loras' = None"),
    ({"prompt": ["x"]}, "prompt", "'prompt': Input should be a valid string"),
    ({"prompt": "x" * 100_000}, "prompt", "'prompt' = 'xxx"),
    ({"model": "x" * 256}, "model", "'model' = 'xxx"),
    ({"width": "320"}, "width", "'width' = '320'"),
    ({"width": 10**30}, "width", "'width' = 1000"),
    ({"height": -1}, "height", "'height' = -1"),
    ({"fps": 0}, "fps", "'fps' = 0"),
    ({"num_frames": True}, "num_frames", "'num_frames' = True"),
    ({"num_frames": 10**30}, "num_frames", "'num_frames' = 1000"),
    ({"num_frames": 33.0}, "num_frames", "'num_frames' = 33.0"),
    ({"num_inference_steps": 0}, "num_inference_steps", "'num_inference_steps' = 0"),
    ({"guidance_scale": 1e308}, "guidance_scale", "'guidance_scale' = 1e+308"),
    ({"guidance_scale": 10**400}, "guidance_scale", "'guidance_scale' = 1000"),
    ({"guidance_scale_2": "3"}, "guidance_scale_2", "'guidance_scale_2' = '3'"),
    ({"flow_shift": 0}, "flow_shift", "'flow_shift' = 0"),
    ({"reference_images": ["a"] * 5}, "reference_images", "'reference_images': Tuple should have at most 4 items"),
    ({"first_block_cache": 2}, "first_block_cache", "'first_block_cache' = 2"),
]
BAD_TEXTS = [
    ("", "is not JSON"),
    ("null", "Input should be an object"),
    ("[]", "Input should be an object"),
    ("[" * 100_000, "nested too deeply"),
    (make_request().to_json().replace("3.0", "NaN", 1), "which is not a finite number"),
    (make_request().to_json().replace("3.0", "1e400", 1), "which is not a finite number"),
    (make_request().to_json().replace("a red", "\\ud800", 1), "'prompt' holds a lone surrogate"),
]


def stored(change: dict[str, Any]) -> str:
    data = make_request().to_dict() | change
    return json.dumps({key: value for key, value in data.items() if value is not ...})


@pytest.mark.parametrize(("change", "field", "says"), BAD_VALUES, ids=lambda value: str(value)[:40])
def test_a_bad_value_is_named(change: dict[str, Any], field: str, says: str) -> None:
    with pytest.raises(RequestError, match=r"^The stored request cannot be read: ") as caught:
        GenerationRequest.from_json(stored(change))
    assert says in str(caught.value) and caught.value.field == field
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize(("text", "says"), BAD_TEXTS, ids=lambda value: value[:40])
def test_a_text_that_is_no_request_says_so(text: str, says: str) -> None:
    with pytest.raises(RequestError, match=r"^The stored request cannot be read: ") as caught:
        GenerationRequest.from_json(text)
    assert says in str(caught.value)


# Rows of the database


@pytest.mark.parametrize(("change", "field", "says"), BAD_VALUES, ids=lambda value: str(value)[:40])
def test_of_a_bad_row_all_that_is_good_is_shown(change: dict[str, Any], field: str, says: str) -> None:
    good = make_request(seed=7, prompt="a boat")
    request, error = read_request(stored({"seed": 7, "prompt": "a boat"} | change))
    assert error is not None and says in error and error.startswith("This clip cannot be made here: The stored request")
    shown, expected = request.to_dict(), good.to_dict()
    assert {name for name in shown if shown[name] != expected[name]} <= {field}
    assert GenerationRequest.from_json(request.to_json()) == request


@pytest.mark.parametrize(("text", "says"), BAD_TEXTS, ids=lambda value: value[:40])
def test_of_an_unreadable_row_a_placeholder_is_shown(text: str, says: str) -> None:
    request, error = read_request(text)
    assert request == UNREADABLE and error is not None and says in error


def test_a_good_row_is_read() -> None:
    assert read_request(make_request().to_json()) == (make_request(), None)


def test_bad_rows_break_no_list_and_are_not_run(queue: OpenQueue, database: Path) -> None:
    texts = [stored(change) for change, _, _ in BAD_VALUES] + [text for text, _ in BAD_TEXTS]
    ids = queue.editor.submit_many([(make_request(), "")] * len(texts) + [(make_request(prompt="good"), "")])
    with Database(database).transaction() as connection:
        for job_id, text in zip(ids, texts, strict=False):
            connection.execute("UPDATE jobs SET request = ? WHERE id = ?", (text, job_id))
    assert [job.id for job in queue.jobs.jobs(limit=100)] == ids
    assert [bool(job.request_error) for job in queue.jobs.active()] == [True] * len(texts) + [False]
    assert all(job.request.num_frames / job.request.fps < 1e6 for job in queue.jobs.jobs(limit=100))
    assert queue.worker.claim().id == ids[-1]
    assert [job.state for job in queue.jobs.jobs(limit=100)].count(JobState.FAILED) == len(texts)
