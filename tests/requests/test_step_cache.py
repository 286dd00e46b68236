"""Step caches and the guidance interval of a request: what may be asked for, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from tests.support.requests import make_request
from wan_pipeline.errors import RequestError, UserError
from wan_pipeline.models.registry import (
    DEMO,
    WAN21_I2V_480P,
    WAN21_T2V_1_3B,
    WAN21_T2V_14B,
    WAN21_VACE_1_3B,
    WAN22_T2V_A14B,
)
from wan_pipeline.models.spec import Mode
from wan_pipeline.planning.geometry import Geometry
from wan_pipeline.requests.layers import Layers, Setup
from wan_pipeline.requests.lists.clips import Row, row_values
from wan_pipeline.requests.request import Draft, GenerationRequest
from wan_pipeline.requests.resolve import PENDING, resolve
from wan_pipeline.requests.sampling.guidance_interval import guided_steps, parse_interval
from wan_pipeline.requests.sampling.step_cache import (
    CacheKind,
    StepCache,
    amount_of_threshold,
    first_block_threshold,
    offered_caches,
    parse_amount,
    parse_kind,
)
from wan_pipeline.settings import REPOSITORY


def resolved(spec=DEMO, layers=None, **draft) -> GenerationRequest:
    image = None if Mode.TEXT_TO_VIDEO in spec.modes else PENDING
    return resolve(Draft(prompt="a boat", **draft), spec, None, image, None, layers=layers or Layers())


def test_a_cache_and_an_interval_are_stored_and_read_again() -> None:
    request = resolved(cache="seacache", guidance_interval=(0.2, 0.9))
    assert request.step_cache == StepCache(CacheKind.SEACACHE, 0.5) and str(request.step_cache) == "SeaCache, medium"
    assert GenerationRequest.from_json(request.to_json()) == request
    assert not {"cache", "cache_amount", "guidance_interval"} & resolved().to_dict().keys(), (
        "older versions can read it"
    )
    assert resolved(cache="seacache", cache_amount=0.0).step_cache is None


def test_a_threshold_is_the_first_block_cache() -> None:
    cache = make_request(first_block_cache=0.08).step_cache
    assert cache is not None and cache.kind is CacheKind.FIRST_BLOCK
    assert first_block_threshold(cache.amount) == pytest.approx(0.08) and amount_of_threshold(0.14) == 1.0


@pytest.mark.parametrize(
    ("setup", "draft", "wanted"),
    [
        ({"cache": CacheKind.SEACACHE}, {}, "SeaCache, medium"),
        ({"cache": CacheKind.SEACACHE}, {"cache": "off"}, "None"),
        ({"cache": CacheKind.SEACACHE}, {"first_block_cache": 0.07}, "First block, medium"),
        ({"cache": CacheKind.SEACACHE}, {"first_block_cache": 0.0}, "None"),
        ({"first_block_cache": 0.1}, {"cache": "taylorseer", "cache_amount": 0.75}, "TaylorSeer, strong"),
        ({"first_block_cache": 0.1}, {"cache": "off"}, "None"),
    ],
)
def test_the_higher_layer_chooses_the_cache(setup, draft, wanted) -> None:
    assert str(resolved(layers=Layers(Setup(**setup)), **draft).step_cache) == wanted


@pytest.mark.parametrize(
    ("spec", "draft", "sentence"),
    [
        (WAN21_I2V_480P, {"cache": "seacache"}, "SeaCache skips nothing from images to video"),
        (WAN21_VACE_1_3B, {"cache": "taylorseer"}, "does not support step caches"),
        (WAN22_T2V_A14B, {"cache": "magcache"}, "not measured for Wan 2.2"),
        (WAN21_T2V_14B, {"cache": "magcache", "guidance_interval": (0.2, 0.9)}, "MagCache counts on guidance"),
        (WAN21_T2V_14B, {"cache": "seacache", "num_inference_steps": 4}, "nothing to skip in 4 steps"),
        (DEMO, {"cache": "teacache"}, "'teacache' is not known"),
        (DEMO, {"cache": "seacache", "first_block_cache": 0.1}, "leave one of them out"),
        (DEMO, {"cache": "seacache", "cache_amount": 2.0}, "Cache amount 2.0 is out of range"),
        (DEMO, {"guidance_interval": (0.001, 0.002)}, "No step of 16 starts in the guidance interval"),
    ],
)
def test_what_would_skip_nothing_is_refused(spec, draft, sentence) -> None:
    with pytest.raises(RequestError, match=sentence):
        resolved(spec, **draft)


def test_each_model_is_offered_what_works_with_it() -> None:
    assert offered_caches(WAN21_T2V_1_3B, Mode.TEXT_TO_VIDEO) == tuple(CacheKind)
    assert CacheKind.SEACACHE not in offered_caches(WAN21_I2V_480P, Mode.IMAGE_TO_VIDEO)
    assert offered_caches(WAN21_VACE_1_3B, Mode.TEXT_TO_VIDEO) == (CacheKind.OFF,)


def test_the_forecast_counts_the_passes_of_guided_steps_alone() -> None:
    request = make_request(num_inference_steps=10, flow_shift=1.0, guidance_interval=(0.35, 0.85))
    assert guided_steps(10, 1.0, (0.35, 0.85)) == {2, 3, 4, 5, 6} == request.guided_steps
    assert Geometry.of(request, DEMO).passes == 15
    assert Geometry.of(replace(request, guidance_scale=1.0), DEMO).passes == 10
    assert Geometry.of(replace(request, guidance_interval=None), DEMO).passes == 20
    assert Geometry.of(replace(request, cache=CacheKind.SEACACHE), DEMO).passes == 8


def test_the_forecast_of_passes_is_near_what_was_measured() -> None:
    """Of a few steps as well where there is a schedule: the first ones are always computed, by each expert."""
    measured = json.loads((REPOSITORY / "benchmarks/results/caches.json").read_text(encoding="utf-8"))
    compared = 0
    for row in measured["settings"]:
        name, _, amount = row["setting"].replace("threshold", "").replace(", ", "").partition(" ")
        if name not in set(CacheKind) - {CacheKind.OFF} or "guidance" in amount:
            continue
        is_threshold = "threshold" in row["setting"]
        cache = StepCache(CacheKind(name), amount_of_threshold(float(amount)) if is_threshold else float(amount))
        assert 2 * cache.computed(measured["steps"], DEMO) == pytest.approx(row["passes"], rel=0.1), row["setting"]
        compared += 1
    assert compared == 16
    assert StepCache(CacheKind.TAYLORSEER, 0.5).computed(8, DEMO) == 5
    assert StepCache(CacheKind.TAYLORSEER, 0.5).computed(8, WAN22_T2V_A14B) == 6


def test_words_and_numbers_are_read() -> None:
    assert (parse_kind("First_Block"), parse_kind("none")) == ("first-block", "off")
    assert [parse_amount(text) for text in ("light", "Strong", "0,4", "off")] == [0.25, 0.75, 0.4, 0.0]
    assert parse_interval("0.2:0.9") == (0.2, 0.9)
    for read, text in ((parse_kind, "x"), (parse_amount, "much"), (parse_interval, "0.9:0.2"), (parse_interval, "1")):
        with pytest.raises(UserError, match=text):
            read(text)


def test_a_list_holds_the_interval_as_people_write_it() -> None:
    row = Row(1, Draft(prompt="a boat", cache="magcache", cache_amount=0.25, guidance_interval=(0.2, 1.0)))
    assert row_values(row) == {
        "prompt": "a boat",
        "cache": "magcache",
        "cache-amount": 0.25,
        "guidance-interval": "0.2:1",
    }
