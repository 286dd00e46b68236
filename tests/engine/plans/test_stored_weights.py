"""Quantized weights are made once, kept, and noticed when they are damaged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.support import tiny
from tests.support.models.families import CHUNK, EXPERTS, Place
from tests.support.observers import Recorder
from tests.support.soak import soaked
from wan_pipeline.engine.engine import Engine
from wan_pipeline.errors import GenerationError, ModelError
from wan_pipeline.models.files import SAMPLED_BYTES


def weight_files(own: Place) -> list[Path]:
    return sorted((own.settings.cache / "weights").glob("*.safetensors"))


@pytest.mark.parametrize(
    ("precision", "stored"), [("int8", "int8"), soaked("fp8-compute", "fp8"), soaked("int4", "int4")]
)
def test_quantized_weights_are_made_once_and_come_back_bit_for_bit(own, precision, stored):
    request, shas, times = own.request(EXPERTS), [], []
    for residency in ("streamed", "resident", "streamed"):
        with Engine(own.settings) as engine:
            shas.append(engine.render(request, Recorder(), plan=f"{residency},{precision},{CHUNK}").sha256)
        times.append([path.stat().st_mtime_ns for path in weight_files(own)])
        assert [path.name.split("-", 1)[1] for path in weight_files(own)] == [
            f"{part}-{stored}.safetensors" for part in ("transformer", "transformer_2")
        ]
    assert len(set(shas)) == 1 and times[0] == times[1] == times[2]


def test_once_quantized_the_original_weights_are_not_read(own, tmp_path):
    """They are damaged in a place that only reading them shows."""
    models = tmp_path / "models"
    settings = replace(own.settings, demo_checkpoint=tiny.write_demo(models / "demo"), models=models)
    request, plan, shas = own.request("demo"), f"streamed,int8,{CHUNK}", []
    path = models / "demo" / "transformer" / "diffusion_pytorch_model.safetensors"
    for _ in range(2):
        with Engine(settings) as engine:
            shas.append(engine.render(request, Recorder(), plan=plan).sha256)
        data = path.read_bytes()
        path.write_bytes(data[:SAMPLED_BYTES] + b"\xff" * (len(data) - 2 * SAMPLED_BYTES) + data[-SAMPLED_BYTES:])
    assert shas[0] == shas[1]
    with Engine(settings) as engine, pytest.raises((GenerationError, ModelError)):
        engine.render(request, Recorder(), plan="resident,fp32")


def test_other_weights_of_the_same_name_are_quantized_anew(own, tmp_path):
    models = tmp_path / "models"
    settings = replace(own.settings, demo_checkpoint=tiny.write_demo(models / "demo"), models=models)
    shas = []
    for seed in (0, 1):
        tiny.write_demo(models / "demo", seed=seed)
        with Engine(settings) as engine:
            shas.append(engine.render(own.request("demo"), Recorder(), plan="streamed,int8").sha256)
    assert len(weight_files(own)) == 2 and shas[0] != shas[1]


@pytest.mark.parametrize("residency", ["streamed", soaked("resident")])
def test_a_damaged_file_of_quantized_weights_is_one_sentence(own, residency):
    request, plan = own.request("demo"), f"{residency},int8,{CHUNK}"
    with Engine(own.settings) as engine:
        wanted = engine.render(request, Recorder(), plan=plan).sha256
    (path,) = weight_files(own)
    path.write_bytes(path.read_bytes()[:-1000])
    with Engine(own.settings) as engine:
        with pytest.raises(ModelError, match=r"is damaged \(.*\); remove it, and it is made again\.$"):
            engine.render(request, Recorder(), plan=plan)
        engine.render(request, Recorder(), plan="resident,fp32")
        path.unlink()
        assert engine.render(request, Recorder(), plan=plan).sha256 == wanted
