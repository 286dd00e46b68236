"""Step caches through the engine: what they skip, by every plan and with two experts, and that nothing is left."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.support.models.families import CHUNK, EXPERTS, assert_nothing_is_left, frames
from tests.support.observers import Recorder
from tests.support.soak import soaked
from wan_pipeline.clips.provenance import Passes
from wan_pipeline.engine.step_cache import PassCounter
from wan_pipeline.requests.request import LoraChoice
from wan_pipeline.requests.sampling.step_cache import CacheKind, StepCache

STEPS = 10


def cached(place, model, kind, **changes):
    return place.request(model, num_inference_steps=STEPS, cache=kind, cache_amount=1.0, **changes)


@pytest.mark.parametrize(
    ("model", "kind"),
    [
        soaked("demo", CacheKind.SEACACHE),
        ("demo", CacheKind.MAGCACHE),
        soaked(EXPERTS, CacheKind.TAYLORSEER),
        (EXPERTS, CacheKind.FIRST_BLOCK),
        soaked("demo", CacheKind.TAYLORSEER),
        soaked("wan2.1-i2v-14b-480p", CacheKind.MAGCACHE),
        soaked(EXPERTS, CacheKind.SEACACHE),
    ],
)
def test_a_cache_skips_passes_the_same_way_streamed_and_chunked(engine, place, model, kind):
    request = cached(place, model, kind)
    plain = replace(request, cache=CacheKind.OFF)
    before = frames(engine, plain, f"streamed,int8,{CHUNK}")
    resident = engine.render(request, Recorder(), plan=f"resident,int8,{CHUNK}")
    assert resident.passes is not None and resident.passes.asked == 2 * STEPS
    assert 4 <= resident.passes.computed < 2 * STEPS
    assert not (resident.frames == before).all()
    for more in ("", "blocks=1,"):
        assert (frames(engine, request, f"streamed,int8,{more}{CHUNK}") == resident.frames).all()
    assert (frames(engine, plain, f"streamed,int8,{CHUNK}") == before).all()
    assert_nothing_is_left(engine)


def test_the_stock_forward_with_a_lora_skips_as_much(engine, place):
    request = cached(place, "demo", CacheKind.TAYLORSEER, loras=(LoraChoice("glow", 0.7),))
    stock, chunked = (
        engine.render(request, Recorder(), plan=plan) for plan in ("resident,fp32", f"resident,fp32,{CHUNK}")
    )
    assert stock.passes == chunked.passes
    assert np.abs(stock.frames.astype(int) - chunked.frames).max() <= 2
    assert_nothing_is_left(engine)


def test_a_skipped_block_is_not_copied(engine, place):
    """Nor prefetched again: after a step that was skipped whole the ring still holds the first blocks."""
    from wan_pipeline.engine.memory import block_copies

    copied = []
    original = block_copies.BlockCopier.copy
    block_copies.BlockCopier.copy = lambda self, block, buffer: (copied.append(block), original(self, block, buffer))[1]
    try:
        made = engine.render(cached(place, "demo", CacheKind.TAYLORSEER), Recorder(), plan=f"streamed,int8,{CHUNK}")
    finally:
        block_copies.BlockCopier.copy = original
    blocks = len(engine._holder.loaded.streamed[0].blocks)
    assert made.passes is not None and len(copied) <= blocks * made.passes.computed + 2


def test_a_threshold_and_an_amount_are_the_same_cache(engine, place):
    threshold = place.request("demo", num_inference_steps=STEPS, first_block_cache=0.14)
    amount = cached(place, "demo", CacheKind.FIRST_BLOCK)
    made = [engine.render(request, Recorder(), plan="resident,fp32") for request in (threshold, amount)]
    assert made[0].sha256 == made[1].sha256 and made[0].passes == made[1].passes


def test_guidance_outside_the_interval_takes_no_pass(engine, place):
    whole = place.request("demo", num_inference_steps=4)
    some, all_steps = (replace(whole, guidance_interval=interval) for interval in ((0.8, 1.0), (0.01, 1.0)))
    plain = engine.render(whole, Recorder(), plan="resident,fp32")
    calls: list[int] = []
    transformer = engine._holder.loaded.denoiser.transformer
    hook = transformer.register_forward_pre_hook(lambda *_: calls.append(1))
    try:
        part = engine.render(some, Recorder(), plan="resident,fp32")
    finally:
        hook.remove()
    assert len(calls) == 4 + len(some.guided_steps) < 8
    assert part.sha256 != plain.sha256 == engine.render(all_steps, Recorder(), plan="resident,fp32").sha256


def test_a_cache_that_does_nothing_says_so():
    counter = PassCounter()
    counter.asked = counter.computed = 20
    (sentence,) = counter.warnings(StepCache(CacheKind.SEACACHE, 0.1))
    assert "SeaCache" in sentence and counter.passes == Passes(20, 20)
    counter.computed = 12
    assert counter.warnings(StepCache(CacheKind.SEACACHE, 0.1)) == () == counter.warnings(None)
    assert counter.passes.saved == 8
