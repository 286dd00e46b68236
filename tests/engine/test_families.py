"""Every family of Wan models, end to end on tiny real ones: the frames are those of the diffusers pipeline."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline, WanImageToVideoPipeline, WanPipeline, WanVACEPipeline
from PIL import Image
from safetensors.torch import load_file, save_file

from tests.support import tiny
from tests.support.observers import Recorder
from tests.support.requests import make_request
from tests.support.soak import soaked
from wan_pipeline.clips.encode import encode
from wan_pipeline.clips.inputs.images import ingest
from wan_pipeline.clips.inputs.videos import ingest_video
from wan_pipeline.engine.conditioning import load_conditioning
from wan_pipeline.engine.device.placement import Placement
from wan_pipeline.engine.engine import Engine
from wan_pipeline.engine.loading.schedulers import make_scheduler
from wan_pipeline.engine.text import EmbeddingCache, embed
from wan_pipeline.errors import Cancelled, ImageError
from wan_pipeline.models.library import ModelLibrary
from wan_pipeline.models.spec import Mode
from wan_pipeline.progress import Stage
from wan_pipeline.requests.request import GenerationRequest, LoraChoice

SIZE = {"width": 96, "height": 64, "num_frames": 9}


def small(model: str, **changes) -> GenerationRequest:
    return make_request(**{**SIZE, "model": model, "styled_prompt": "the red ball", **changes})


def picture(settings, path: Path, red: int) -> str:
    ramp = np.mgrid[0:64, 0:96]
    pixels = np.stack([np.full((64, 96), red), ramp[0] * 3, ramp[1] * 2], axis=-1).astype(np.uint8)
    Image.fromarray(pixels).save(path)
    return ingest(path, settings.inputs).sha256


@pytest.fixture
def pictures(settings, tmp_path) -> tuple[str, str]:
    return picture(settings, tmp_path / "a.png", 30), picture(settings, tmp_path / "b.png", 220)


@pytest.fixture
def video(settings, tmp_path) -> str:
    """The name of a control video: 16 frames at 16 a second, moving."""
    shades = np.linspace(0, 255, 16).astype(np.uint8)
    frames = np.stack([np.full((64, 96, 3), shade, np.uint8) for shade in shades])
    encode(frames, 16, tmp_path / "control.mp4", None)
    return ingest_video(tmp_path / "control.mp4", settings.inputs)


def stock(kind: type[DiffusionPipeline], settings, request: GenerationRequest, **more) -> np.ndarray:
    """The clip by diffusers alone."""
    model = ModelLibrary(settings).find(request.model)
    place = Placement(torch.device("cpu"), torch.float32)
    with torch.inference_mode():
        texts = embed(model, [request.styled_prompt, ""], EmbeddingCache(settings.cache / "stock"), place)
    pipeline = kind.from_pretrained(model.folder, torch_dtype=torch.float32)
    pipeline.scheduler = make_scheduler(request.scheduler, pipeline.scheduler.config, request.flow_shift)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline(
        prompt_embeds=texts[0],
        negative_prompt_embeds=texts[1],
        width=96,
        height=64,
        num_frames=9,
        num_inference_steps=request.num_inference_steps,
        guidance_scale=request.guidance_scale,
        generator=torch.Generator().manual_seed(request.seed),
        **more,
    ).frames[0]


def render(settings, request: GenerationRequest, **more) -> np.ndarray:
    with Engine(settings) as engine:
        return engine.render(request, Recorder(), **more).frames


def same(frames: np.ndarray, stock_frames: np.ndarray) -> bool:
    return frames.shape == stock_frames.shape and np.abs(frames - stock_frames * 255.0).max() <= 1.01


def test_two_experts_text_to_video_each_with_its_own_guidance(settings):
    tiny.write_experts_text(settings.models / "wan2.2-t2v-a14b")
    request = small("wan2.2-t2v-a14b", guidance_scale=4.0, guidance_scale_2=2.0, flow_shift=3.0)
    frames = render(settings, request)
    assert same(frames, stock(WanPipeline, settings, request, guidance_scale_2=2.0))
    assert not (frames == render(settings, replace(request, guidance_scale_2=4.0))).all()


def test_each_expert_computes_on_its_side_of_the_boundary(settings):
    tiny.write_experts_text(settings.models / "wan2.2-t2v-a14b")
    asked: list[tuple[int, float]] = []
    with Engine(settings) as engine:
        request = small("wan2.2-t2v-a14b", guidance_scale_2=3.0)
        engine.render(request, Recorder())
        for number, transformer in enumerate(engine._holder.loaded.denoiser.transformers):
            transformer.register_forward_pre_hook(
                lambda module, args, values, number=number: asked.append((number, float(values["timestep"][0]))),
                with_kwargs=True,
            )
        engine.render(request, Recorder())
    assert {number for number, _ in asked} == {0, 1}
    assert all((timestep >= 875) == (number == 0) for number, timestep in asked)


@pytest.mark.soak
def test_two_experts_image_to_video(settings, pictures):
    tiny.write_experts_image(settings.models / "wan2.2-i2v-a14b")
    request = small("wan2.2-i2v-a14b", mode=Mode.IMAGE_TO_VIDEO, image=pictures[0], guidance_scale_2=3.0)
    image = Image.open(settings.inputs / f"{pictures[0]}.png")
    frames = render(settings, request)
    assert same(frames, stock(WanImageToVideoPipeline, settings, request, image=image, guidance_scale_2=3.0))
    led = replace(request, last_image=pictures[1])
    last = Image.open(settings.inputs / f"{pictures[1]}.png")
    wanted = stock(WanImageToVideoPipeline, settings, led, image=image, last_image=last, guidance_scale_2=3.0)
    assert same(render(settings, led), wanted)
    assert not same(frames, wanted)


@pytest.mark.soak
def test_first_and_last_frame(settings, pictures):
    tiny.write_first_last(settings.models / "wan2.1-flf2v-14b")
    request = small("wan2.1-flf2v-14b", mode=Mode.IMAGE_TO_VIDEO, image=pictures[0], last_image=pictures[1])
    image, last = (Image.open(settings.inputs / f"{name}.png") for name in pictures)
    assert same(
        render(settings, request), stock(WanImageToVideoPipeline, settings, request, image=image, last_image=last)
    )


@pytest.mark.parametrize(
    "parts",
    ["all", *map(soaked, ("text", "video", "video+mask", "reference"))],
)
def test_vace(settings, pictures, video, parts):
    tiny.write_vace(settings.models / "wan2.1-vace-1.3b")
    request = small(
        "wan2.1-vace-1.3b",
        control_video=video if parts in ("video", "video+mask", "all") else None,
        control_mask=pictures[0] if parts in ("video+mask", "all") else None,
        reference_images=pictures if parts in ("reference", "all") else (),
    )
    conditioning = load_conditioning(settings.inputs, request)
    wanted = stock(
        WanVACEPipeline,
        settings,
        request,
        video=list(conditioning.video) or None,
        mask=list(conditioning.mask) or None,
        reference_images=list(conditioning.references) or None,
    )
    observer = Recorder()
    with Engine(settings) as engine:
        frames = engine.render(request, observer).frames
    assert same(frames, wanted)
    assert observer.of(Stage.DENOISING)[-1].preview.shape[0] == 3


def test_the_control_video_is_read_at_the_clips_frame_rate(settings, video):
    request = small("wan2.1-vace-1.3b", control_video=video, fps=8, num_frames=5)
    shades = [float(np.asarray(frame).mean()) for frame in load_conditioning(settings.inputs, request).video]
    assert len(shades) == 5 and shades[4] == pytest.approx(8 * 17, abs=20)
    with pytest.raises(ImageError, match=r"has 16 frames at 16 a second and the clip takes 33; ask for at most 13"):
        load_conditioning(settings.inputs, small("wan2.1-vace-1.3b", control_video=video, num_frames=33))


@pytest.mark.parametrize(
    ("model", "write", "more"),
    [
        ("wan2.2-t2v-a14b", tiny.write_experts_text, {"guidance_scale_2": 3.0}),
        ("wan2.1-vace-1.3b", tiny.write_vace, {"reference_images": True}),
    ],
)
@pytest.mark.parametrize("step", [2, *(pytest.param(step, marks=pytest.mark.soak) for step in (1, 3))])
def test_a_stopped_clip_resumes_to_the_same_frames(settings, tmp_path, pictures, model, write, more, step):
    write(settings.models / model)
    if "reference_images" in more:
        more = {"reference_images": pictures[:1]}
    every_step = replace(settings, checkpoint_seconds=0.0)
    request = small(model, **more)
    whole = render(every_step, request)
    checkpoint = tmp_path / "checkpoint.safetensors"
    with Engine(every_step) as engine:
        with pytest.raises(Cancelled):
            engine.render(request, Recorder(stop_at=(Stage.DENOISING, step)), checkpoint)
        again = engine.render(request, Recorder(), checkpoint)
    assert again.resumed_from >= step and (again.frames == whole).all()


@pytest.mark.soak
def test_a_lora_works_on_both_experts_and_leaves_both(settings):
    tiny.write_experts_text(settings.models / "wan2.2-t2v-a14b")
    rank = {"lora_A": torch.randn(4, 48), "lora_B": torch.randn(48, 4)}
    save_file(
        {f"transformer.blocks.0.attn1.to_q.{name}.weight": value for name, value in rank.items()},
        settings.loras / "style.safetensors",
    )
    request = small("wan2.2-t2v-a14b", guidance_scale_2=3.0)
    with Engine(settings) as engine:
        plain = engine.render(request, Recorder()).sha256
        asked = []
        for transformer in engine._holder.loaded.denoiser.transformers:
            layer = transformer.blocks[0].attn1.to_q
            transformer.register_forward_hook(
                lambda *_, layer=layer: asked.append(len(layer._forward_hooks) + ("forward" in vars(layer)))
            )
        assert engine.render(replace(request, loras=(LoraChoice("style"),)), Recorder()).sha256 != plain
        assert asked and set(asked) == {1}, "beside the weight by a hook, or merged by a forward of its own"
        assert engine.render(request, Recorder()).sha256 == plain


def test_the_second_expert_is_part_of_what_a_clip_is_made_from(settings):
    folder = tiny.write_experts_text(settings.models / "wan2.2-t2v-a14b")
    with Engine(settings) as engine:
        clip = engine.render(small("wan2.2-t2v-a14b"), Recorder())
    assert "transformer_2/diffusion_pytorch_model.safetensors" in clip.provenance.model_files
    first = ModelLibrary(settings).find("wan2.2-t2v-a14b").fingerprint
    path = folder / "transformer_2" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(path)
    tensors[min(tensors)].view(-1)[0] += 1
    save_file(tensors, path, metadata={"format": "pt"})
    assert ModelLibrary(settings).find("wan2.2-t2v-a14b").fingerprint != first
