"""What a guest may ask for at most."""

from __future__ import annotations

from dataclasses import replace

import pytest

from wan_pipeline.access.caps import Caps, Usage, check_caps, check_queue, check_usage
from wan_pipeline.errors import UserError
from wan_pipeline.models import registry
from wan_pipeline.requests.own_clip import own_request

REQUEST = own_request(registry.MODELS["wan2.2-t2v-a14b"])
LARGEST = replace(REQUEST, width=1280, height=720, num_inference_steps=50, num_frames=161, fps=16)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"width": 1280, "height": 736}, "choose a smaller size"),
        ({"num_frames": 165, "fps": 16}, "longer than guests' clips"),
        ({"num_inference_steps": 51}, "51 steps are more"),
    ],
)
def test_the_largest_clip_is_made_and_one_beyond_it_refused(change: dict[str, int], sentence: str) -> None:
    check_caps(LARGEST, Caps())
    with pytest.raises(UserError, match=sentence):
        check_caps(replace(LARGEST, **change), Caps())


@pytest.mark.parametrize(
    ("usage", "sentence"),
    [
        (Usage(clips=5, waiting=0, minutes_today=0), "was for 5 clips"),
        (Usage(clips=1, waiting=4, minutes_today=0), "4 clips of yours are waiting"),
        (Usage(clips=1, waiting=0, minutes_today=59), "60 minutes a day"),
    ],
)
def test_a_share_that_is_used_up_is_refused(usage: Usage, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        check_usage(usage, minutes=2, caps=Caps(), max_clips=5)
    check_usage(Usage(4, 3, 57), minutes=2, caps=Caps(), max_clips=5)


def test_a_queue_that_is_full_takes_no_more() -> None:
    check_queue(10_000, Caps())
    check_queue(4, Caps(max_queue=5))
    with pytest.raises(UserError, match="The queue is full"):
        check_queue(5, Caps(max_queue=5))
