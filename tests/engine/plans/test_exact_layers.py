"""A model's first clip in int8 measures its layers; later ones have those that err too much in 16 bits."""

from __future__ import annotations

import pytest

from tests.support.models.families import CHUNK, EXPERTS, WRITERS, assert_nothing_is_left, frames
from tests.support.observers import Recorder
from tests.support.soak import soaked
from wan_pipeline.engine.engine import Engine
from wan_pipeline.errors import Cancelled
from wan_pipeline.models.library import ModelLibrary
from wan_pipeline.planning.int8_errors import BOUND, load_errors, save_errors
from wan_pipeline.progress import Stage

LAYER = "attn2.to_q"


def test_the_first_clip_measures_and_later_ones_have_exact_layers(own) -> None:
    request = own.request("demo", quantization="int8-compute")
    cache, fingerprint = own.settings.cache, ModelLibrary(own.settings).find("demo").fingerprint
    path = own.settings.checkpoints / "job.safetensors"
    with Engine(own.settings) as engine:
        with pytest.raises(Cancelled):
            engine.render(request, Recorder(stop_at=(Stage.DENOISING, 0)), path)
        assert load_errors(cache, "demo", fingerprint) is None, "no whole clip has been made"
        first = engine.render(request, Recorder())
        assert "exact" not in first.provenance.plan
        assert_nothing_is_left(engine)
        errors = load_errors(cache, "demo", fingerprint)
        assert errors is not None and 0 < errors[LAYER] < BOUND  # random weights have no outliers
        save_errors(cache, "demo", "other weights", errors | {LAYER: 2 * BOUND})
        assert engine.render(request, Recorder()).sha256 == first.sha256, "measured again"
        save_errors(cache, "demo", fingerprint, errors | {LAYER: 2 * BOUND})
        later = engine.render(request, Recorder())
        assert later.provenance.plan == f"{first.provenance.plan},exact={LAYER}" and later.sha256 != first.sha256
        assert engine.render(request, Recorder(), plan=first.provenance.plan).sha256 == first.sha256
        resumed = engine.render(request, Recorder(), path)
        assert (resumed.resumed_from, resumed.sha256) == (1, first.sha256)


@pytest.mark.parametrize("model", ["demo", soaked(EXPERTS), soaked("wan2.1-vace-1.3b")])
def test_exact_layers_stream_to_the_same_bits(engine, place, model: str) -> None:
    request, more = place.request(model), f"{CHUNK},fused,exact={LAYER}+ffn.net.2"
    wanted = frames(engine, request, f"resident,int8-compute,{more}")
    assert (frames(engine, request, f"streamed,int8-compute,blocks=1,{more}") == wanted).all()
    assert not (frames(engine, request, f"resident,int8-compute,{CHUNK},fused") == wanted).all()


@pytest.mark.parametrize("cache", [0.0, 0.5])
@pytest.mark.parametrize("model", [soaked(model) for model in WRITERS])
def test_every_family_is_measured(own, model: str, cache: float) -> None:
    request = own.request(model, first_block_cache=cache, num_inference_steps=4)
    with Engine(own.settings) as engine:
        first = frames(engine, request, f"streamed,int8-compute,{CHUNK},fused")
        errors = load_errors(own.settings.cache, model, ModelLibrary(own.settings).find(model).fingerprint)
        reads_images = model in ("wan2.1-i2v-14b-480p", "wan2.1-flf2v-14b")
        assert errors is not None and ("attn2.add_k_proj" in errors) is reads_images
        assert (frames(engine, request, f"streamed,int8-compute,{CHUNK},fused") == first).all()
