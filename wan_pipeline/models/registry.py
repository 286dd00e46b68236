"""Every model this project knows by name. Variants derive from one another with `dataclasses.replace`."""

from __future__ import annotations

from dataclasses import replace

from wan_pipeline.errors import ModelError
from wan_pipeline.models.mag_ratios import (
    DEMO_RATIOS,
    WAN21_I2V_480P_RATIOS,
    WAN21_I2V_720P_RATIOS,
    WAN21_T2V_1_3B_RATIOS,
    WAN21_T2V_14B_RATIOS,
)
from wan_pipeline.models.memory import DEMO_MEMORY, WAN_1_3B, WAN_5B, WAN_14B
from wan_pipeline.models.spec import Availability, LastImage, Mode, ModelSpec, Size

DEFAULT_MODEL = "demo"

TEXT = frozenset({Mode.TEXT_TO_VIDEO})
IMAGE = frozenset({Mode.IMAGE_TO_VIDEO})

SIZES_480P = (Size(832, 480), Size(480, 832), Size(624, 624))
SIZES_720P = (Size(1280, 720), Size(720, 1280), Size(960, 960))

# The authors' negative prompt (`wan/configs/shared_config.py` of the Wan repositories).
WAN_NEGATIVE_PROMPT = (
    "色调艳丽，过曝，静态，细节模糊不清，字幕，风格，作品，画作，画面，静止，整体发灰，最差质量，低质量，JPEG压缩残留，丑陋的，残缺的，"
    "多余的手指，画得不好的手部，画得不好的脸部，畸形的，毁容的，形态畸形的肢体，手指融合，静止不动的画面，杂乱的背景，三条腿，背景人很多，倒着走"
)

DEMO = ModelSpec(
    id="demo",
    title="Demo (bundled)",
    modes=TEXT | IMAGE,
    availability=Availability.BUNDLED,
    sizes=(Size(320, 192), Size(192, 320), Size(256, 256)),
    any_shape=False,  # it learned from these three alone
    size_multiple=32,
    min_side=160,
    max_pixels=384 * 384,
    spatial_compression=16,
    latent_channels=48,
    num_frames=33,
    max_frames=49,
    fps=16,
    num_inference_steps=16,
    guidance_scale=3.0,
    flow_shift=3.0,
    max_sequence_length=64,
    mag_ratios=DEMO_RATIOS,
    vocabulary="demo",
    memory=DEMO_MEMORY,
)

WAN21_T2V_1_3B = ModelSpec(
    id="wan2.1-t2v-1.3b",
    title="Wan 2.1 Text to video 1.3B",
    repo="Wan-AI/Wan2.1-T2V-1.3B-Diffusers",
    modes=TEXT,
    sizes=SIZES_480P,
    download_gb=29.0,
    negative_prompt=WAN_NEGATIVE_PROMPT,
    mag_ratios=WAN21_T2V_1_3B_RATIOS,
)

WAN21_T2V_14B = replace(
    WAN21_T2V_1_3B,
    id="wan2.1-t2v-14b",
    title="Wan 2.1 Text to video 14B",
    repo="Wan-AI/Wan2.1-T2V-14B-Diffusers",
    sizes=SIZES_480P + SIZES_720P,
    download_gb=80.0,
    memory=WAN_14B,
    mag_ratios=WAN21_T2V_14B_RATIOS,
)

WAN21_I2V_480P = replace(
    WAN21_T2V_14B,
    id="wan2.1-i2v-14b-480p",
    title="Wan 2.1 Image to video 14B, 480p",
    repo="Wan-AI/Wan2.1-I2V-14B-480P-Diffusers",
    modes=IMAGE,
    sizes=SIZES_480P,
    num_inference_steps=40,
    download_gb=91.0,
    memory=replace(WAN_14B, reads_images=True, image_encoder_params=631e6),
    mag_ratios=WAN21_I2V_480P_RATIOS,
)

WAN21_I2V_720P = replace(
    WAN21_I2V_480P,
    id="wan2.1-i2v-14b-720p",
    title="Wan 2.1 Image to video 14B, 720p",
    repo="Wan-AI/Wan2.1-I2V-14B-720P-Diffusers",
    sizes=SIZES_720P,
    flow_shift=5.0,
    mag_ratios=WAN21_I2V_720P_RATIOS,
)

WAN21_FLF2V = replace(
    WAN21_I2V_720P,
    id="wan2.1-flf2v-14b",
    title="Wan 2.1 First and last frame 14B",
    repo="Wan-AI/Wan2.1-FLF2V-14B-720P-diffusers",
    last_image=LastImage.REQUIRED,
    num_inference_steps=50,
    guidance_scale=5.5,
    flow_shift=16.0,  # the authors' default for FLF2V and VACE (Wan 2.1 repository, `generate.py`, sample_shift)
    mag_ratios=(),
)

WAN21_VACE_1_3B = replace(
    WAN21_T2V_1_3B,
    id="wan2.1-vace-1.3b",
    title="Wan 2.1 VACE 1.3B",
    repo="Wan-AI/Wan2.1-VACE-1.3B-diffusers",
    takes_control=True,
    flow_shift=16.0,  # as for FLF2V; the 3.0 in the repository's scheduler_config.json is diffusers' general default
    download_gb=20.0,
    memory=replace(WAN_1_3B, control_layers=15),
    mag_ratios=(),
)

WAN21_VACE_14B = replace(
    WAN21_VACE_1_3B,
    id="wan2.1-vace-14b",
    title="Wan 2.1 VACE 14B",
    repo="Wan-AI/Wan2.1-VACE-14B-diffusers",
    sizes=SIZES_480P + SIZES_720P,
    download_gb=81.0,
    memory=replace(WAN_14B, control_layers=8),
)

WAN22_T2V_A14B = replace(
    WAN21_T2V_14B,
    id="wan2.2-t2v-a14b",
    title="Wan 2.2 Text to video A14B",
    repo="Wan-AI/Wan2.2-T2V-A14B-Diffusers",
    num_inference_steps=40,
    guidance_scale=4.0,
    guidance_scale_2=3.0,
    flow_shift=12.0,
    download_gb=126.0,
    memory=replace(WAN_14B, experts=2),
    mag_ratios=(),
)

WAN22_I2V_A14B = replace(
    WAN22_T2V_A14B,
    id="wan2.2-i2v-a14b",
    title="Wan 2.2 Image to video A14B",
    repo="Wan-AI/Wan2.2-I2V-A14B-Diffusers",
    modes=IMAGE,
    last_image=LastImage.OPTIONAL,
    guidance_scale=3.5,
    guidance_scale_2=3.5,
    flow_shift=5.0,
)

WAN22_TI2V_5B = replace(
    WAN21_T2V_1_3B,
    id="wan2.2-ti2v-5b",
    title="Wan 2.2 Text and image to video 5B",
    repo="Wan-AI/Wan2.2-TI2V-5B-Diffusers",
    modes=TEXT | IMAGE,
    sizes=(Size(1280, 704), Size(704, 1280), Size(960, 960)),
    size_multiple=32,
    spatial_compression=16,
    latent_channels=48,
    num_frames=121,
    fps=24,
    flow_shift=5.0,
    download_gb=34.0,
    memory=WAN_5B,
    mag_ratios=(),
)

WAN22_ANIMATE = replace(
    WAN21_I2V_720P,
    id="wan2.2-animate-14b",
    title="Wan 2.2 Animate 14B",
    repo="Wan-AI/Wan2.2-Animate-14B-Diffusers",
    download_gb=80.0,
    missing="It follows videos of a pose and of a face, which this version cannot extract from a clip yet.",
)

WAN22_S2V = replace(
    WAN21_I2V_720P,
    id="wan2.2-s2v-14b",
    title="Wan 2.2 Speech to video 14B",
    repo="Wan-AI/Wan2.2-S2V-14B",
    download_gb=50.0,
    missing="It follows speech, and diffusers 0.42 has no pipeline for it.",
)


def _announced(version: str) -> ModelSpec:
    """A placeholder: its facts are guesses, and it cannot be run."""
    return replace(
        WAN22_TI2V_5B,
        id=f"wan{version}",
        title=f"Wan {version}",
        repo=None,
        licence="unknown",
        availability=Availability.ANNOUNCED,
        download_gb=0.0,
        missing="Its weights are not public; once they are, run: python -m wan_pipeline models import owner/name",
    )


WAN26, WAN30 = _announced("2.6"), _announced("3.0")

MODELS: dict[str, ModelSpec] = {
    spec.id: spec
    for spec in (
        DEMO,
        WAN21_T2V_1_3B,
        WAN21_T2V_14B,
        WAN21_I2V_480P,
        WAN21_I2V_720P,
        WAN21_FLF2V,
        WAN21_VACE_1_3B,
        WAN21_VACE_14B,
        WAN22_T2V_A14B,
        WAN22_I2V_A14B,
        WAN22_TI2V_5B,
        WAN22_ANIMATE,
        WAN22_S2V,
        WAN26,
        WAN30,
    )
}


def find(model_id: str) -> ModelSpec:
    """The facts of a model. Raises ModelError listing the known ids."""
    try:
        return MODELS[model_id]
    except KeyError:
        raise ModelError(f"There is no model '{model_id}'; choose one of: {', '.join(MODELS)}.") from None
