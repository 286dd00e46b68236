"""The whole engine on tiny real models: the same request gives the same frames, and no error leaves a trace."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import WanImageToVideoPipeline, WanPipeline
from PIL import Image
from safetensors.torch import load_file, save_file

from tests.support import tiny
from tests.support.observers import Recorder
from tests.support.requests import make_request
from wan_pipeline.clips.frame_hash import frames_sha256
from wan_pipeline.engine.engine import Engine
from wan_pipeline.errors import Cancelled, GenerationError, ImageError, ModelError, OutOfMemory
from wan_pipeline.models.spec import Mode
from wan_pipeline.planning.memory_plan import read_plan
from wan_pipeline.progress import Stage
from wan_pipeline.requests.request import GenerationRequest
from wan_pipeline.requests.sampling.scheduler import SchedulerName


def small(**changes) -> GenerationRequest:
    settings = {"width": 96, "height": 64, "num_frames": 9, "styled_prompt": "the red ball"}
    return make_request(**settings | changes)


@pytest.fixture
def engine(settings):
    with Engine(settings) as engine:
        yield engine


@pytest.fixture
def picture(settings) -> str:
    """The name of a stored input image, 120 x 60."""
    ramp = np.mgrid[0:60, 0:120]
    pixels = np.stack([ramp[0] * 4, ramp[1] * 2, 255 - ramp[0] * 4], axis=-1).astype(np.uint8)
    Image.fromarray(pixels).save(settings.inputs / "picture.png")
    return "picture"


def test_a_clip_has_the_asked_shape_and_a_full_account(engine):
    observer = Recorder()
    clip = engine.render(small(), observer)
    assert clip.frames.shape == (9, 64, 96, 3) and clip.frames.dtype == np.uint8
    assert clip.sha256 == frames_sha256(clip.frames)
    assert list(clip.seconds) == ["encoding text", "loading", "denoising", "decoding"]
    assert clip.peak_memory_mb > 50 and clip.warnings == ()
    environment = clip.provenance.environment
    assert environment["device"] == "cpu" and environment["dtype"] == "float32"
    stages = [report.stage for report in observer.reports]
    assert list(dict.fromkeys(stages)) == [Stage.ENCODING_TEXT, Stage.LOADING, Stage.DENOISING, Stage.DECODING]


def test_every_step_is_reported_with_time_left_and_a_preview(engine):
    observer = Recorder()
    engine.render(small(), observer)
    start, *steps = observer.of(Stage.DENOISING)
    assert (start.step, start.total, start.preview) == (0, 4, None)
    assert [(report.step, report.total) for report in steps] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert steps[-1].eta_seconds == 0 and all(report.eta_seconds >= 0 for report in steps)
    assert all(report.preview.shape == (3, 16, 24, 3) for report in steps)


@pytest.mark.parametrize("scheduler", list(SchedulerName))
def test_the_same_request_gives_the_same_frames_in_any_engine(engine, settings, tmp_path, scheduler):
    request = small(scheduler=scheduler)
    first = engine.render(request, Recorder()).sha256
    engine.render(small(seed=1), Recorder())
    assert engine.render(request, Recorder()).sha256 == first
    with Engine(replace(settings, workspace=tmp_path / "elsewhere")) as other:
        assert other.render(request, Recorder()).sha256 == first


def test_every_setting_matters(engine):
    changes = [
        {"seed": 7},
        {"styled_prompt": "the blue moon spins"},
        {"negative_prompt": "the sea at night"},
        {"guidance_scale": 5.0},
        {"guidance_scale": 1.0},
        {"flow_shift": 8.0},
        {"num_inference_steps": 5},
        {"scheduler": SchedulerName.EULER},
        {"scheduler": SchedulerName.DPMPP},
    ]
    shas = {engine.render(small(**change), Recorder()).sha256 for change in [{}, *changes]}
    assert len(shas) == 1 + len(changes)


def test_text_to_video_is_what_the_pipeline_makes_in_one_piece(engine, settings):
    request = small(negative_prompt="the sea")
    pipeline = WanPipeline.from_pretrained(settings.demo_checkpoint, torch_dtype=torch.float32)
    frames = pipeline(
        request.styled_prompt,
        request.negative_prompt,
        width=96,
        height=64,
        num_frames=9,
        num_inference_steps=4,
        guidance_scale=3.0,
        generator=torch.Generator().manual_seed(request.seed),
        max_sequence_length=64,
    ).frames[0]
    ours = engine.render(request, Recorder()).frames
    assert np.abs(ours - frames * 255).max() <= 1.01


@pytest.mark.soak
def test_image_to_video_is_what_the_pipeline_makes_in_one_piece(engine, settings, picture, monkeypatch):
    request = small(mode=Mode.IMAGE_TO_VIDEO, image=picture)
    text = WanPipeline.from_pretrained(settings.demo_checkpoint, torch_dtype=torch.float32)
    embeddings = text.encode_prompt(request.styled_prompt, "", max_sequence_length=64)
    pipeline = WanImageToVideoPipeline.from_pretrained(settings.demo_checkpoint, torch_dtype=torch.float32)
    cropped = Image.open(settings.inputs / "picture.png").crop((15, 0, 105, 60)).resize((96, 64), Image.LANCZOS)
    frames = pipeline(
        cropped,
        prompt_embeds=embeddings[0],
        negative_prompt_embeds=embeddings[1],
        width=96,
        height=64,
        num_frames=9,
        num_inference_steps=4,
        guidance_scale=3.0,
        generator=torch.Generator().manual_seed(request.seed),
    ).frames[0]
    assert np.abs(engine.render(request, Recorder()).frames - frames * 255).max() <= 1.01


def test_the_image_is_the_clips_first_frame(engine, picture):
    """What the autoencoder makes of the image, whatever the seed: the first latent frame is kept."""
    clips = [engine.render(small(mode=Mode.IMAGE_TO_VIDEO, image=picture, seed=seed), Recorder()) for seed in (1, 2)]
    assert (clips[0].frames[0] == clips[1].frames[0]).all()
    assert not (clips[0].frames[-1] == clips[1].frames[-1]).all()


def test_the_preview_of_the_first_frame_is_the_image_from_the_start(engine, picture):
    observer = Recorder()
    engine.render(small(mode=Mode.IMAGE_TO_VIDEO, image=picture), observer)
    previews = [report.preview for report in observer.of(Stage.DENOISING)[1:]]
    wanted = np.asarray(Image.open(engine._settings.inputs / "picture.png").crop((15, 0, 105, 60)).resize((24, 16)))
    for preview in previews:
        assert np.abs(preview[0].astype(int) - wanted.astype(int)).mean() < 3


def test_a_missing_image_is_a_sentence(engine):
    with pytest.raises(ImageError, match=r"gone\.png is no longer in"):
        engine.render(small(mode=Mode.IMAGE_TO_VIDEO, image="gone"), Recorder())


@pytest.mark.parametrize("step", [1, 2])
def test_cancel_within_a_step(engine, step):
    plain = engine.render(small(), Recorder()).sha256
    observer = Recorder(stop_at=(Stage.DENOISING, step))
    with pytest.raises(Cancelled):
        engine.render(small(), observer)
    assert observer.of(Stage.DENOISING)[-1].step == step
    assert engine.render(small(), Recorder()).sha256 == plain


@pytest.mark.parametrize("stop_at", [(Stage.ENCODING_TEXT, 0), (Stage.LOADING, 0), (Stage.DECODING, 1)])
def test_cancel_in_every_other_stage(engine, stop_at):
    observer = Recorder(stop_at)
    with pytest.raises(Cancelled):
        engine.render(small(), observer)
    assert observer.reports[-1].stage is stop_at[0]
    engine.render(small(), Recorder())


def poison(folder, component):
    """Put one NaN into each weight deep inside a component, where loading does not look."""
    path = next((folder / component).glob("*.safetensors"))
    tensors = load_file(path)
    for name, tensor in tensors.items():
        if name.startswith(("blocks.", "decoder.mid_block.")):
            tensor.view(-1)[0] = float("nan")
    save_file(tensors, path, metadata={"format": "pt"})


@pytest.mark.parametrize(("component", "words"), [("transformer", "Step 1 of 4"), ("vae", "VAE weights")])
def test_damaged_weights_stop_the_clip_and_nothing_else(settings, tmp_path, component, words):
    bad = shutil.copytree(settings.demo_checkpoint, settings.models / "wan2.2-ti2v-5b")
    poison(bad, component)
    with Engine(settings) as engine:
        before = engine.render(small(), Recorder()).sha256
        with pytest.raises(GenerationError, match=words):
            engine.render(small(model="wan2.2-ti2v-5b"), Recorder())
        assert engine.render(small(), Recorder()).sha256 == before


def test_a_truncated_weight_file_is_a_sentence_and_the_engine_goes_on(settings):
    bad = shutil.copytree(settings.demo_checkpoint, settings.models / "wan2.2-ti2v-5b")
    path = next((bad / "transformer").glob("*.safetensors"))
    path.write_bytes(path.read_bytes()[:-100])
    with Engine(settings) as engine:
        with pytest.raises(ModelError, match="put the model's files there again"):
            engine.render(small(model="wan2.2-ti2v-5b"), Recorder())
        engine.render(small(), Recorder())


HUGE = {"width": 16 * 2**26, "height": 16 * 2**26}
"""Its noise takes 2.6e18 bytes: more than the address space of any processor, so that no system can promise them."""


@pytest.mark.parametrize("plan", ["resident,fp32,text=cpu", "offload,fp32"])
def test_no_room_is_a_sentence_with_the_plan_to_try_next_and_the_engine_goes_on(engine, plan):
    """Refused by the real allocator."""
    with pytest.raises(OutOfMemory, match="ran out of memory; choose a smaller size") as caught:
        engine.render(small(**HUGE), Recorder(), plan=plan)
    smaller = read_plan(caught.value.smaller_plan)
    assert smaller.chunk or smaller.tile
    engine.render(small(), Recorder())


def test_the_smallest_plan_has_none_after_it(engine):
    plan = "resident,fp32,text=cpu"
    for _ in range(5):
        with pytest.raises(OutOfMemory) as caught:
            engine.render(small(**HUGE), Recorder(), plan=plan)
        if caught.value.smaller_plan is None:
            break
        plan = caught.value.smaller_plan
    else:
        pytest.fail(f"after {plan} there is still a smaller one")


def test_a_plan_that_only_moves_weights_gives_the_same_frames(engine):
    plans = ["resident,fp32,text=cpu", "offload,fp32", "offload,fp32,text=streamed"]
    clips = [engine.render(small(), Recorder(), plan=plan) for plan in ("", *plans)]
    assert [clip.provenance.plan for clip in clips] == [plans[0], *plans]
    assert len({clip.sha256 for clip in clips}) == 1


def test_tiles_are_counted_and_nothing_of_them_is_left(engine):
    wide = small(width=384, num_inference_steps=1)
    whole = engine.render(wide, Recorder())
    observer = Recorder()
    tiles = engine.render(wide, observer, plan="resident,fp32,tile=128")
    reports = observer.of(Stage.DECODING)
    total = reports[0].total
    assert total == 3 * 5  # latent frames, and tiles of 128 that share 64
    assert [(report.step, report.total) for report in reports] == [
        (0, total),
        *((step, total) for step in range(total)),
    ]
    assert tiles.frames.shape == whole.frames.shape and tiles.sha256 != whole.sha256
    assert engine.render(wide, Recorder()).sha256 == whole.sha256


def test_an_unknown_plan_is_a_sentence(engine):
    with pytest.raises(GenerationError, match="'huge' is not a memory plan; use resident, offload, streamed, or"):
        engine.render(small(), Recorder(), plan="huge")


def test_texts_encoded_ahead_are_not_encoded_again(engine, settings):
    requests = [small(), small(styled_prompt="the blue moon", negative_prompt="the sea"), small(guidance_scale=1.0)]
    engine.encode_texts(requests)
    cached = {path: path.read_bytes() for path in (settings.cache / "prompts").glob("*.safetensors")}
    assert len(cached) == 4  # two prompts, the empty negative one and the sea
    for request in requests:
        engine.render(request, Recorder())
    assert {path: path.read_bytes() for path in (settings.cache / "prompts").glob("*.safetensors")} == cached


def test_a_warm_engine_loads_nothing_again_until_the_model_changes(settings):
    shutil.copytree(settings.demo_checkpoint, settings.models / "wan2.2-ti2v-5b")
    tiny.write_demo(settings.models / "wan2.2-ti2v-5b", seed=1)
    with Engine(settings) as engine:
        engine.render(small(), Recorder())
        loaded = engine._holder.loaded
        engine.render(small(seed=9), Recorder())
        assert engine._holder.loaded is loaded
        engine.render(small(model="wan2.2-ti2v-5b"), Recorder())
        assert engine._holder.loaded is not loaded


def test_wan_21_text_to_video_layout(settings):
    tiny.write_wan21_text(settings.models / "wan2.1-t2v-1.3b")
    observer = Recorder()
    with Engine(settings) as engine:
        clip = engine.render(small(model="wan2.1-t2v-1.3b"), observer)
    assert clip.frames.shape == (9, 64, 96, 3)
    assert observer.of(Stage.DENOISING)[-1].preview.shape == (3, 16, 24, 3)


def test_wan_21_image_to_video_layout(settings, picture):
    tiny.write_wan21_image(settings.models / "wan2.1-i2v-14b-480p")
    request = small(model="wan2.1-i2v-14b-480p", mode=Mode.IMAGE_TO_VIDEO, image=picture)
    with Engine(settings) as engine:
        first = engine.render(request, Recorder())
        assert first.frames.shape == (9, 64, 96, 3)
        assert engine.render(request, Recorder()).sha256 == first.sha256
