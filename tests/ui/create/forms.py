"""Forms for tests, and a draft that has every setting."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr

from tests.support.pages import TEMPLATES
from wan_pipeline.lora.schedule import Schedule
from wan_pipeline.models.registry import DEMO, find
from wan_pipeline.models.spec import LastImage, Mode, ModelSpec
from wan_pipeline.requests.presets import load_presets
from wan_pipeline.requests.request import Draft, LoraChoice
from wan_pipeline.requests.sampling.speeds import load_speeds
from wan_pipeline.settings import REPOSITORY
from wan_pipeline.ui.create.fields.field import Choices
from wan_pipeline.ui.create.fields.table import FIELDS
from wan_pipeline.ui.create.form import Form
from wan_pipeline.ui.create.layout import FormLayout

PRESETS = load_presets(REPOSITORY / "presets")[0]
SPEEDS = load_speeds(REPOSITORY / "presets" / "speeds")[0]
TAKES_ALL = replace(DEMO, last_image=LastImage.OPTIONAL, takes_control=True, guidance_scale_2=3.0)


def choices(mode: Mode, *models: ModelSpec, image: Path | None = None) -> Choices:
    return Choices(
        mode,
        models,
        PRESETS,
        "a red ball",
        lambda name: find(name or "demo"),
        lambda: models,
        image,
        SPEEDS,
    )


FULL = Draft(
    prompt="a red ball",
    image=Path("first.png"),
    model="demo",
    preset="noir",
    negative_prompt="text",
    seed=2**32 - 1,
    width=320,
    height=192,
    num_frames=17,
    fps=16,
    num_inference_steps=8,
    noise_size="192x160",
    guidance_scale=2.5,
    flow_shift=4.0,
    scheduler="euler",
    loras=(
        LoraChoice("paint", 0.5),
        LoraChoice("ink", -1.0, schedule=Schedule.parse("0:0, 0.3:1")),
        LoraChoice("fast", weight_high=3.0, weight_low=1.5),
        LoraChoice("paint", 0.5),
    ),
    guidance_scale_2=1.5,
    image_fit="pad",
    image_crop=0.25,
    last_image=Path("last.png"),
    control_video=Path("control.mp4"),
    control_mask=Path("mask.png"),
    reference_images=(Path("one.png"), Path("two.png")),
    quantization="int8",
    cache="seacache",
    cache_amount=0.75,
    guidance_interval=(0.2, 0.9),
    early_end=0.25,
    speed="wan2.2-t2v-4-steps",
    prompt_before="35mm film.",
    prompt_after="warm light",
    quality="fine-detail",
)


def draw(choices: Choices) -> Form:
    """The form of a page."""
    with gr.Blocks():
        return FormLayout(choices, TEMPLATES).form


def shown(draft: Draft, spec: ModelSpec = DEMO) -> dict[str, Any]:
    return {name: field.show(draft, spec) for name, field in FIELDS.items()}
