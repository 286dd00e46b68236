"""The size at which a clip begins, as it is written, stored and refused."""

from __future__ import annotations

import pytest

from tests.support.requests import make_request
from wan_pipeline.errors import RequestError, UserError
from wan_pipeline.models.registry import DEMO
from wan_pipeline.requests.limits import check_request
from wan_pipeline.requests.options import noise_size
from wan_pipeline.requests.request import Draft, GenerationRequest
from wan_pipeline.requests.resolve import resolve
from wan_pipeline.requests.sampling.noise_size import NoiseSize
from wan_pipeline.requests.sampling.step_cache import CacheKind


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("", ""),
        ("192x128", "192x128"),
        ("192 × 128", "192x128"),
        ("192 X 128 @ 0.65", "192x128@0.65"),
        ("256x160@0.500", "256x160@0.5"),
    ],
)
def test_it_is_read_as_people_write_it(text: str, read: str) -> None:
    assert noise_size(text) == read and str(NoiseSize.read(read) or "") == read


@pytest.mark.parametrize("text", ["192", "192x128@", "192x128@1", "192x128@0.65x", "x@0.5", "-1x2"])
def test_other_text_is_refused_with_the_way_out(text: str) -> None:
    with pytest.raises(UserError, match=r"write it as 192x128, or as 192x128@0.65"):
        noise_size(text)
    with pytest.raises(RequestError):
        GenerationRequest.from_dict(make_request().to_dict() | {"noise_size": text})


@pytest.mark.parametrize("text", ["", "256x160", "256x160@0.65"])
def test_requests_of_either_kind_are_stored_and_come_back(text: str) -> None:
    request = make_request(noise_size=text)
    assert GenerationRequest.from_dict(request.to_dict()) == request
    assert ("noise_size" in request.to_dict()) == bool(text)


def test_the_clips_own_size_is_left_out() -> None:
    for text in ("320x192", "320x192@0.65"):
        draft = Draft(prompt="a red ball", width=320, height=192, noise_size=text)
        assert resolve(draft, DEMO, None, None, None).noise_size == ""


@pytest.mark.parametrize(
    ("changes", "reason"), [({"cache": CacheKind.FIRST_BLOCK}, "a step cache"), ({"image": "a" * 64}, "pictures")]
)
def test_first_steps_that_cannot_be_are_refused(changes: dict[str, object], reason: str) -> None:
    request = make_request(width=320, height=192, num_inference_steps=16, noise_size="256x160@0.65", **changes)
    with pytest.raises(RequestError, match=f"{reason}.*write 256x160 alone"):
        check_request(request, DEMO)
