"""After an error in any stage, by every kind of plan, nothing of the clip is left."""

from __future__ import annotations

import pytest
from diffusers.models.autoencoders.autoencoder_kl_wan import WanDecoder3d, WanEncoder3d
from diffusers.models.transformers.transformer_wan import WanTransformerBlock
from transformers import UMT5EncoderModel

from tests.support.faults.shortage import fault_in, no_room_for
from tests.support.models.families import CHUNK, EXPERTS, assert_nothing_is_left, frames, warnings
from tests.support.observers import Recorder
from tests.support.soak import soaked
from wan_pipeline.engine.engine import Engine
from wan_pipeline.errors import Cancelled, OutOfMemory
from wan_pipeline.progress import Stage

PLANS = (
    f"streamed,int8,blocks=1,{CHUNK},text=streamed,tile=48,encode=tiles",
    soaked(f"resident,int8,{CHUNK},tile=48"),
)


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize(
    "stop_at",
    [
        (Stage.DENOISING, 1),
        *(soaked((stage, 0)) for stage in (Stage.ENCODING_TEXT, Stage.LOADING, Stage.DENOISING, Stage.DECODING)),
    ],
)
def test_after_a_cancel_in_any_stage(own, plan, stop_at):
    request = own.request("wan2.1-i2v-14b-480p", first_block_cache=0.1, loras=())
    with Engine(own.settings) as engine:
        with pytest.raises(Cancelled):
            engine.render(request, Recorder(stop_at), plan=plan)
        assert_nothing_is_left(engine)
        again = engine.render(request, Recorder(), plan=plan).sha256
        assert_nothing_is_left(engine)
    with Engine(own.settings) as engine:
        assert engine.render(request, Recorder(), plan=plan).sha256 == again


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("kind", [WanTransformerBlock, *map(soaked, (UMT5EncoderModel, WanEncoder3d, WanDecoder3d))])
def test_after_memory_ran_out_in_any_stage(own, plan, kind):
    request = own.request("wan2.1-i2v-14b-480p")
    with Engine(own.settings) as engine:
        with no_room_for(kind), pytest.raises(OutOfMemory):
            engine.render(request, Recorder(), plan=plan)
        assert engine._holder.loaded is None
        engine.render(request, Recorder(), plan=plan)
        assert_nothing_is_left(engine)


@pytest.mark.parametrize("model", ["demo", soaked(EXPERTS)])
def test_the_loaded_model_survives_what_goes_wrong_with_a_clip(engine, place, model):
    plan, request = f"streamed,int8,blocks=1,{CHUNK}", place.request(model)
    wanted = frames(engine, request, plan)
    loaded = engine._holder.loaded
    for stop_at in ((Stage.DENOISING, 1), (Stage.DECODING, 0)):
        with pytest.raises(Cancelled):
            engine.render(request, Recorder(stop_at), plan=plan)
        assert engine._holder.loaded is loaded
        assert (frames(engine, request, plan) == wanted).all()
    for kind in (WanTransformerBlock, WanDecoder3d):
        with fault_in(kind, ValueError("a fault that nobody expected")), pytest.raises(ValueError, match="nobody"):
            engine.render(request, Recorder(), plan=plan)
        assert_nothing_is_left(engine)
        assert engine._holder.loaded is loaded
        assert (frames(engine, request, plan) == wanted).all()


@pytest.mark.parametrize("model", ["demo", EXPERTS])
def test_a_clip_resumes_under_a_plan_that_keeps_its_weights_elsewhere(engine, place, tmp_path, model):
    request, checkpoint = place.request(model, num_inference_steps=3), tmp_path / "kept.safetensors"
    whole = frames(engine, request, f"streamed,int8,blocks=1,{CHUNK}")
    with pytest.raises(Cancelled):
        engine.render(request, Recorder((Stage.DENOISING, 1)), checkpoint, f"streamed,int8,blocks=1,{CHUNK}")
    again = engine.render(request, Recorder(), checkpoint, f"streamed,int8,{CHUNK},disk=1")
    assert again.resumed_from == 2 and (again.frames == whole).all() and warnings(again) == []
