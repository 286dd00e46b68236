"""Every family of models by every kind of plan, through the engine itself: the same bits, wherever the weights are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.support.models.families import CHUNK, EXPERTS, WRITERS, frames
from tests.support.soak import soaked
from wan_pipeline.requests.request import LoraChoice


@pytest.mark.parametrize(
    ("model", "precision"),
    [
        soaked("wan2.1-vace-1.3b", "int8"),
        ("wan2.2-i2v-a14b", "int8"),
        *(soaked(model, "int8") for model in WRITERS if model not in ("wan2.1-vace-1.3b", "wan2.2-i2v-a14b")),
        *(soaked(model, "bf16") for model in WRITERS),
    ],
)
def test_every_family_streamed_is_the_same_as_resident(engine, place, model, precision):
    request = place.request(model)
    wanted = frames(engine, request, f"resident,{precision},{CHUNK}")
    assert (frames(engine, request, f"streamed,{precision},blocks=1,{CHUNK},text=streamed") == wanted).all()
    if precision == "int8":
        near = np.abs(frames(engine, request, "resident,int8").astype(int) - wanted)
        assert near.mean() < 4  # the stock forward rounds differently


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16", "int8-compute", "fp8", "fp8-compute", "int4"])
@pytest.mark.parametrize("model", ["demo", soaked(EXPERTS)])
def test_every_precision_streamed_is_the_same_as_resident(engine, place, model, precision):
    request = place.request(model)
    wanted = frames(engine, request, f"resident,{precision},{CHUNK}")
    assert (frames(engine, request, f"streamed,{precision},{CHUNK}") == wanted).all()


@pytest.mark.parametrize(
    ("model", "precision"),
    [
        ("demo", "int8-compute"),
        ("wan2.1-vace-1.3b", "int8"),
        *(soaked(model, precision) for model in WRITERS for precision in ("bf16", "fp32")),
    ],
)
def test_fused_streams_bit_for_bit_with_loras_too(engine, place, model, precision):
    """And is the chunked forward but for rounding."""
    plain = place.request(model)
    requests = [plain, replace(plain, loras=(LoraChoice("glow", 0.7),))] if model == "demo" else [plain]
    fused = [frames(engine, request, f"resident,{precision},{CHUNK},fused") for request in requests]
    for request, wanted in zip(requests, fused, strict=True):
        assert (frames(engine, request, f"streamed,{precision},blocks=1,{CHUNK},fused") == wanted).all()
    near = np.abs(frames(engine, plain, f"resident,{precision},{CHUNK}").astype(int) - fused[0])
    assert near.mean() < 4 and (len(fused) == 1 or not (fused[0] == fused[1]).all())


@pytest.mark.parametrize("model", [EXPERTS, soaked("wan2.1-vace-1.3b")])
def test_resident_blocks_and_experts_on_disk_change_no_bit(engine, place, model):
    request = place.request(model)
    wanted = frames(engine, request, f"resident,int8,{CHUNK}")
    experts = 2 if model == EXPERTS else 1
    for more in ("", "blocks=2,", "blocks=4,", "blocks=100,"):
        assert (frames(engine, request, f"streamed,int8,{more}{CHUNK}") == wanted).all()
    for disk in range(1, experts + 1):
        assert (frames(engine, request, f"streamed,int8,blocks=1,{CHUNK},disk={disk}") == wanted).all()
        slabs = [block.home_slab is not None for part in engine._holder.loaded.streamed for block in part.blocks]
        assert slabs.count(False) == disk * len(slabs) // experts


def test_precisions_are_not_the_same(engine, place):
    plans = [f"streamed,{precision},{CHUNK}" for precision in ("fp32", "int8", "fp8", "int4", "fp8-compute")]
    clips = [frames(engine, place.request("demo"), plan) for plan in plans]
    assert len({clip.tobytes() for clip in clips}) == len(plans)
    errors = [np.abs(clip.astype(int) - clips[0]).mean() for clip in clips[1:]]
    assert errors[0] < errors[2]  # int8 is nearer than int4


def test_a_lora_on_streamed_int8_is_that_on_resident_int8(engine, place):
    plain = place.request("demo")
    request = replace(plain, loras=(LoraChoice("glow", 0.7),))
    wanted = frames(engine, request, f"resident,int8,{CHUNK}")
    for more in ("", "blocks=1,"):
        assert (frames(engine, request, f"streamed,int8,{more}{CHUNK}") == wanted).all()
        assert not (frames(engine, plain, f"streamed,int8,{more}{CHUNK}") == wanted).all()


@pytest.mark.parametrize("model", ["demo", soaked(EXPERTS)])
def test_a_first_block_cache_streams_and_leaves_nothing(engine, place, model):
    plain = place.request(model, num_inference_steps=4)
    cached = replace(plain, first_block_cache=0.5)
    before = frames(engine, plain, f"streamed,int8,{CHUNK}")
    wanted = frames(engine, cached, f"resident,int8,{CHUNK}")
    assert not (wanted == before).all()
    for more in ("", "blocks=1,"):
        assert (frames(engine, cached, f"streamed,int8,{more}{CHUNK}") == wanted).all()
    assert (frames(engine, plain, f"streamed,int8,{CHUNK}") == before).all()


# The VAE


@pytest.mark.parametrize("residency", ["streamed", soaked("resident")])
@pytest.mark.parametrize("model", ["wan2.1-i2v-14b-480p", soaked("wan2.1-vace-1.3b")])
def test_conditioning_may_be_encoded_in_tiles(engine, place, model, residency):
    """Frames larger than a tile; smaller ones are encoded in one piece all the same."""
    for width, same in ((96, True), (288, False)):
        request = place.request(model, width=width, num_inference_steps=1)
        whole, tiles = (frames(engine, request, f"{residency},int8,{CHUNK}{more}") for more in ("", ",encode=tiles"))
        assert (whole == tiles).all() == same
        assert np.abs(whole.astype(int) - tiles).mean() < 8


@pytest.mark.parametrize("residency", [soaked("resident"), "streamed"])
def test_the_vae_in_bf16_and_in_tiles_gives_nearly_the_same_frames(engine, place, residency):
    request = place.request("wan2.1-t2v-1.3b", width=160, height=96)
    exact = frames(engine, request, f"{residency},int8,{CHUNK}")
    for more in ("vae=bf16", "tile=88", "tile=88,vae=bf16"):
        other = frames(engine, request, f"{residency},int8,{CHUNK},{more}")
        assert 0 < np.abs(other.astype(int) - exact).mean() < 3
    assert (frames(engine, request, f"{residency},int8,{CHUNK}") == exact).all()
    assert next(engine._holder.loaded.denoiser.vae.parameters()).dtype is torch.float32
