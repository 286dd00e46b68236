"""Schedules: factors over the steps, and LoRAs as texts with them."""

from __future__ import annotations

import pytest

from tests.support.requests import make_request
from wan_pipeline.errors import RequestError, UserError
from wan_pipeline.lora.schedule import Schedule
from wan_pipeline.models import registry
from wan_pipeline.requests.limits import check_request
from wan_pipeline.requests.options import lora
from wan_pipeline.requests.request import GenerationRequest, LoraChoice


@pytest.mark.parametrize(
    ("text", "steps", "factors"),
    [
        ("0:0, 0.3:1", 10, (0, 1 / 3, 2 / 3, 1, 1, 1, 1, 1, 1, 1)),
        ("0.5:0,0.5:1", 4, (0, 0, 1, 1)),
        ("0.25:2", 4, (2, 2, 2, 2)),
        ("0:1, 1:0", 4, (1, 0.75, 0.5, 0.25)),
        (" .5 : -1.5 , 1:+.5", 2, (-1.5, -1.5)),
        ("0.00005:0, 1.:1", 2, (0, 0.499975)),
        ("0:0.00000001", 1, (1e-8,)),
    ],
)
def test_factors_are_linear_between_the_points(text: str, steps: int, factors: tuple[float, ...]) -> None:
    schedule = Schedule.parse(text)
    assert schedule.factors(steps) == pytest.approx(factors)
    assert Schedule.parse(str(schedule)) == schedule


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is no schedule; write points"),
        ("0:0,", "is no schedule"),
        ("0", "is no schedule"),
        ("nan:1", "is no schedule"),
        ("\u0661:1", "is no schedule"),
        ("0:" + "1" * 999, "1,001 characters, and at most 1,000"),
        ("0:inf", "is no schedule"),
        ("1.1:0", "shares beyond 1"),
        ("0:11", "factors beyond 10"),
        ("0.5:0, 0.4:1", "do not rise"),
        (",".join(["0:1"] * 33), "33 points, and at most 32"),
    ],
)
def test_what_is_no_schedule_is_told(text: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        lora(f"ink=1@{text}")


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        ("ink", LoraChoice("ink")),
        ("ink=0.8", LoraChoice("ink", 0.8)),
        ("a=b@home=0,5", LoraChoice("a=b@home", 0.5)),
        ("folder/ink=3/1,5", LoraChoice("folder/ink", weight_high=3.0, weight_low=1.5)),
        ("ink=@0:0,0.3:1", LoraChoice("ink", schedule=Schedule(((0, 0), (0.3, 1))))),
        ("ink=3/1.5@0.5:0", LoraChoice("ink", weight_high=3.0, weight_low=1.5, schedule=Schedule(((0.5, 0),)))),
    ],
)
def test_a_lora_as_text(text: str, choice: LoraChoice) -> None:
    assert lora(text) == choice == lora(choice.text)
    request = make_request(loras=(choice,))
    assert GenerationRequest.from_json(request.to_json()) == request


def test_a_plain_choice_is_stored_as_before() -> None:
    stored = make_request(loras=(LoraChoice("ink", 0.8),)).to_dict()["loras"]
    assert stored == ({"name": "ink", "weight": 0.8},)
    later = make_request(loras=(LoraChoice("ink", 0.8, 3.0, schedule=Schedule(((0.5, 0.0),))),)).to_dict()["loras"]
    assert later == ({"name": "ink", "weight": 0.8, "weight_high": 3.0, "schedule": "0.5:0"},)


@pytest.mark.parametrize(
    "bad", [{"schedule": "x"}, {"schedule": 1}, {"weight_high": 11}, {"weight_low": "1"}, {"w": 1}]
)
def test_a_stored_choice_is_checked(bad: dict[str, object]) -> None:
    data = make_request().to_dict() | {"loras": [{"name": "ink", "weight": 1.0, **bad}]}
    with pytest.raises(RequestError, match="loras"):
        GenerationRequest.from_dict(data)


def test_weights_by_expert_are_for_models_with_two() -> None:
    request = make_request(loras=(LoraChoice("ink", weight_high=3.0),))
    with pytest.raises(RequestError, match=r"two experts \(3/1\), and Demo .* has one expert; give one weight"):
        check_request(request, registry.DEMO)
    two = make_request(
        model="wan2.2-t2v-a14b", width=832, height=480, num_frames=81, guidance_scale_2=3.0, loras=request.loras
    )
    check_request(two, registry.find("wan2.2-t2v-a14b"))
    assert request.loras[0].weights == (3.0, 1.0)
