"""Every family of models by every kind of plan, through the engine itself."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl_wan import WanDecoder3d, WanEncoder3d
from diffusers.models.transformers.transformer_wan import WanTransformerBlock
from PIL import Image
from transformers import UMT5EncoderModel

from tests.support import adapters, tiny
from tests.support.faults.shortage import fault_in, no_room_for
from tests.support.observers import Recorder
from tests.support.requests import make_request
from tests.support.soak import soaked
from wan_pipeline.clips.encode import encode
from wan_pipeline.clips.inputs.images import ingest
from wan_pipeline.clips.inputs.videos import ingest_video
from wan_pipeline.engine.engine import Engine, Rendered
from wan_pipeline.engine.memory.inner_tensors import inner_tensors, named_tensors
from wan_pipeline.errors import Cancelled, GenerationError, ModelError, OutOfMemory
from wan_pipeline.models.files import SAMPLED_BYTES
from wan_pipeline.models.spec import Mode
from wan_pipeline.progress import Stage
from wan_pipeline.requests.request import GenerationRequest, LoraChoice
from wan_pipeline.settings import Settings

WRITERS: dict[str, Callable[[Path], Path]] = {
    "demo": tiny.write_demo,
    "wan2.1-t2v-1.3b": tiny.write_wan21_text,
    "wan2.1-i2v-14b-480p": tiny.write_wan21_image,
    "wan2.1-flf2v-14b": tiny.write_first_last,
    "wan2.2-t2v-a14b": tiny.write_experts_text,
    "wan2.2-i2v-a14b": tiny.write_experts_image,
    "wan2.1-vace-1.3b": tiny.write_vace,
}
WITH_IMAGE = ("wan2.1-i2v-14b-480p", "wan2.1-flf2v-14b", "wan2.2-i2v-a14b")
EXPERTS = "wan2.2-t2v-a14b"
CHUNK = "chunk=7"


class Place(NamedTuple):
    """A studio with all families, and what their clips are conditioned on."""

    settings: Settings
    pictures: tuple[str, str]
    video: str

    def request(self, model: str, **changes) -> GenerationRequest:
        """With two experts, each computes one of the steps."""
        settings: dict[str, object] = {"styled_prompt": "the red ball", "num_inference_steps": 2, "num_frames": 5}
        if model in WITH_IMAGE:
            settings |= {"mode": Mode.IMAGE_TO_VIDEO, "image": self.pictures[0]}
        if model == "wan2.1-flf2v-14b":
            settings["last_image"] = self.pictures[1]
        if model == "wan2.1-vace-1.3b":
            settings |= {"control_video": self.video, "reference_images": self.pictures[:1]}
        return make_request(**{**settings, "model": model, "width": 96, "height": 64, **changes})


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Place:
    folder = tmp_path_factory.mktemp("plans")
    names = ("workspace", "loras", "models")
    settings = Settings(**{name: folder / name for name in names}, demo_checkpoint=folder / "models" / "demo")
    for path in (settings.loras, settings.models):
        path.mkdir()
    settings.make_folders()
    for model, write in WRITERS.items():
        write(settings.models / model)
    adapters.write(settings.loras / "glow.safetensors")
    pictures = []
    for name, red in (("a", 30), ("b", 220)):
        pixels = np.random.default_rng(red).integers(0, 256, (64, 96, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{name}.png")
        pictures.append(ingest(folder / f"{name}.png", settings.inputs).sha256)
    encode(np.random.default_rng(1).integers(0, 256, (8, 64, 96, 3), dtype=np.uint8), 16, folder / "c.mp4", None)
    return Place(settings, (pictures[0], pictures[1]), ingest_video(folder / "c.mp4", settings.inputs))


@pytest.fixture(scope="module")
def engine(place):
    with Engine(replace(place.settings, checkpoint_seconds=0.0)) as engine:
        yield engine


def frames(engine: Engine, request: GenerationRequest, plan: str) -> np.ndarray:
    made = engine.render(request, Recorder(), plan=plan)
    assert made.provenance.plan == plan and warnings(made) == []
    assert_nothing_is_left(engine)
    return made.frames


def warnings(made: Rendered) -> list[str]:
    """But for the forecast's, which takes the tiny model for the large one that it stands in for."""
    return [warning for warning in made.warnings if "its forecast did not fit" not in warning]


def assert_nothing_is_left(engine: Engine) -> None:
    """The loaded model keeps nothing of a clip: no hook, no forward or encode of ours, no tiles, no cache."""
    if engine._holder.loaded is None:
        return
    denoiser = engine._holder.loaded.denoiser
    modules = [module for part in (*denoiser.transformers, denoiser.vae) for module in part.modules()]
    if denoiser.image_encoder is not None:
        modules.append(denoiser.image_encoder)  # its own modules have hooks of the library
    for module in modules:
        assert not module._forward_hooks and not module._forward_pre_hooks, module
        assert not {"encode", "_hf_hook"} & set(vars(module)), module
    assert not any("forward" in vars(module) for model in denoiser.transformers for module in model.modules())
    assert not denoiser.vae.use_tiling and not any(model.is_cache_enabled for model in denoiser.transformers)
    assert all(kept is None for kept in getattr(denoiser.vae, "_feat_map", []))
    for streamed in engine._holder.loaded.streamed:
        for block in streamed.blocks:
            here = [inner for _, _, tensor in named_tensors(block.module) for inner in inner_tensors(tensor)]
            home = [inner for tensor in block._home for inner in inner_tensors(tensor)]
            assert [inner.data_ptr() for inner in here] == [inner.data_ptr() for inner in home]


# The same bits, wherever the weights are


@pytest.mark.parametrize(
    ("model", "precision"),
    [
        ("wan2.1-vace-1.3b", "int8"),
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


@pytest.mark.parametrize("model", [EXPERTS, "wan2.1-vace-1.3b"])
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


@pytest.mark.parametrize("model", ["demo", EXPERTS])
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
@pytest.mark.parametrize("model", ["wan2.1-i2v-14b-480p", "wan2.1-vace-1.3b"])
def test_conditioning_may_be_encoded_in_tiles(engine, place, model, residency):
    """Frames larger than a tile; smaller ones are encoded in one piece all the same."""
    for width, same in ((96, True), (288, False)):
        request = place.request(model, width=width, num_inference_steps=1)
        whole, tiles = (frames(engine, request, f"{residency},int8,{CHUNK}{more}") for more in ("", ",encode=tiles"))
        assert (whole == tiles).all() == same
        assert np.abs(whole.astype(int) - tiles).mean() < 8


@pytest.mark.parametrize("residency", ["resident", "streamed"])
def test_the_vae_in_bf16_and_in_tiles_gives_nearly_the_same_frames(engine, place, residency):
    request = place.request("wan2.1-t2v-1.3b", width=160, height=96)
    exact = frames(engine, request, f"{residency},int8,{CHUNK}")
    for more in ("vae=bf16", "tile=88", "tile=88,vae=bf16"):
        other = frames(engine, request, f"{residency},int8,{CHUNK},{more}")
        assert 0 < np.abs(other.astype(int) - exact).mean() < 3
    assert (frames(engine, request, f"{residency},int8,{CHUNK}") == exact).all()
    assert next(engine._holder.loaded.denoiser.vae.parameters()).dtype is torch.float32


# Quantized weights are made once


@pytest.fixture
def own(place, tmp_path) -> Place:
    """The same models, another workspace."""
    settings = replace(place.settings, workspace=tmp_path / "workspace", checkpoint_seconds=0.0)
    settings.make_folders()
    for path in place.settings.inputs.iterdir():
        (settings.inputs / path.name).write_bytes(path.read_bytes())
    return place._replace(settings=settings)


def weight_files(own: Place) -> list[Path]:
    return sorted((own.settings.cache / "weights").glob("*.safetensors"))


@pytest.mark.parametrize(("precision", "stored"), [("int8", "int8"), ("fp8-compute", "fp8"), ("int4", "int4")])
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


@pytest.mark.parametrize("residency", ["streamed", "resident"])
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


# After errors


PLANS = (
    f"streamed,int8,blocks=1,{CHUNK},text=streamed,tile=48,encode=tiles",
    soaked(f"resident,int8,{CHUNK},tile=48"),
)


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize(
    "stop_at",
    [(Stage.ENCODING_TEXT, 0), (Stage.LOADING, 0), (Stage.DENOISING, 0), (Stage.DENOISING, 1), (Stage.DECODING, 0)],
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
@pytest.mark.parametrize("kind", [UMT5EncoderModel, WanEncoder3d, WanTransformerBlock, WanDecoder3d])
def test_after_memory_ran_out_in_any_stage(own, plan, kind):
    request = own.request("wan2.1-i2v-14b-480p")
    with Engine(own.settings) as engine:
        with no_room_for(kind), pytest.raises(OutOfMemory):
            engine.render(request, Recorder(), plan=plan)
        assert engine._holder.loaded is None
        engine.render(request, Recorder(), plan=plan)
        assert_nothing_is_left(engine)


@pytest.mark.parametrize("model", ["demo", EXPERTS])
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


# Compiled blocks

without_compiler = pytest.mark.skipif(shutil.which("c++") is None, reason="torch needs a C++ compiler for the CPU")


@without_compiler
@pytest.mark.parametrize(
    ("plan", "backend"),
    [
        ("streamed,int8,chunk=30", "eager"),
        ("resident,fp32", "eager"),
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
