"""Compiled blocks: the same but for rounding, and undone."""

from __future__ import annotations

import shutil
from dataclasses import replace
from functools import partial

import pytest
import torch

from tests.support import adapters, tiny
from tests.support.observers import Recorder
from tests.support.requests import make_request
from tests.support.soak import soaked
from wan_pipeline.engine.engine import Engine
from wan_pipeline.requests.request import LoraChoice

without_compiler = pytest.mark.skipif(shutil.which("c++") is None, reason="torch needs a C++ compiler for the CPU")


@without_compiler
@pytest.mark.parametrize(
    ("plan", "backend"),
    [
        ("streamed,int8,chunk=30", "eager"),
        soaked("resident,fp32", "eager"),
        soaked("streamed,int8,chunk=30", "inductor"),
        soaked("resident,fp32", "inductor"),
    ],
)
def test_compiled_is_the_same_but_for_rounding_and_undone(settings, monkeypatch, plan, backend):
    """The backend `eager` traces and guards as `inductor` does, without the minute that generating code takes."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    tiny.write_experts_text(settings.models / "wan2.2-t2v-a14b")
    request = make_request(
        model="wan2.2-t2v-a14b", width=128, height=96, num_frames=9, num_inference_steps=4, guidance_scale_2=3.0
    )
    with Engine(settings) as engine:
        plain = engine.render(request, Recorder(), plan=plan)
        compiled = engine.render(request, Recorder(), plan=f"{plan},compiled")
        again = engine.render(request, Recorder(), plan=plan)
    assert compiled.provenance.plan == f"{plan},compiled"
    assert abs(compiled.frames.astype(int) - plain.frames).mean() < 0.5
    assert again.sha256 == plain.sha256


@pytest.mark.soak
@without_compiler
@pytest.mark.parametrize("backend", ["eager", soaked("inductor")])
def test_a_lora_works_on_blocks_that_were_compiled_without_it(settings, monkeypatch, backend):
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    adapters.write(settings.loras / "glow.safetensors")
    plain = make_request(width=128, height=96, num_frames=9, num_inference_steps=2)
    glowing = replace(plain, loras=(LoraChoice("glow", 4.0),))
    with Engine(settings) as engine:
        wanted = engine.render(glowing, Recorder(), plan="resident,fp32").frames
        without = engine.render(plain, Recorder(), plan="resident,fp32,compiled").frames
        made = engine.render(glowing, Recorder(), plan="resident,fp32,compiled").frames
    assert abs(made.astype(int) - wanted).mean() < 0.1 < abs(made.astype(int) - without).mean()
