"""Requests are stored as JSON and come back as they were."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError

import pytest

from tests.support.requests import make_request
from wan_pipeline.errors import RequestError
from wan_pipeline.models.spec import Mode
from wan_pipeline.requests.request import GenerationRequest, LoraChoice, SchedulerName


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


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"shutter": 1}, "unknown setting 'shutter'"),
        ({"seed": None}, "cannot be read"),
        ({"mode": "mime"}, "cannot be read"),
        ({"loras": [{"file": "x"}]}, "cannot be read"),
        ({"loras": [{"name": 1}]}, "'name' = 1, which cannot be"),
        ({"prompt": ["x"]}, "'prompt' = "),
        ({"width": "320"}, "'width' = '320'"),
        ({"fps": 0}, "'fps' = 0"),
        ({"num_frames": True}, "'num_frames' = True"),
    ],
)
def test_a_stored_request_that_does_not_fit_says_so(change: dict, says: str) -> None:
    data = make_request().to_dict() | change
    if data["seed"] is None:
        del data["seed"]
    with pytest.raises(RequestError, match=says):
        GenerationRequest.from_json(json.dumps(data))
