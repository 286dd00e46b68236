"""All fields of the form, by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import gradio as gr

from wan_pipeline.errors import RequestError, UserError
from wan_pipeline.models.precision import Precision
from wan_pipeline.models.spec import Mode, ModelSpec
from wan_pipeline.requests.options import noise_size
from wan_pipeline.requests.sampling.scheduler import SchedulerName
from wan_pipeline.ui.common.names import look_choices, quality_choices
from wan_pipeline.ui.create.fields.field import Choices, Field, has_second_expert, number, only_if, plain
from wan_pipeline.ui.create.fields.files import FILE_FIELDS
from wan_pipeline.ui.create.fields.framing import FRAMING_FIELDS
from wan_pipeline.ui.create.fields.length import LENGTH
from wan_pipeline.ui.create.fields.loras import LORAS
from wan_pipeline.ui.create.fields.size import SIZE_FIELDS
from wan_pipeline.ui.create.fields.skipping import SKIPPING_FIELDS

DEFAULT_PRESET = "natural"
SCHEDULERS = {SchedulerName.UNIPC: "UniPC", SchedulerName.EULER: "Euler", SchedulerName.DPMPP: "DPM++"}
PRECISIONS = {
    Precision.INT8_COMPUTE: "INT8 compute (faster, nearly as exact as INT8)",
    Precision.FP8_COMPUTE: "FP8 compute (error 6.7 %; INT8: 2.4 %)",
}
"""Labels of precisions that are not just their name in capitals."""
AUTOMATIC = ("Automatic", "")


def model_choices(specs: Sequence[ModelSpec]) -> list[tuple[str, str]]:
    """(label, value) of each model."""
    return [(spec.title, spec.id) for spec in specs]


def speed_choices(choices: Choices, spec: ModelSpec) -> list[tuple[str, str]]:
    """(label, value) of each speed that fits the model, its own first. Alone where there is no other."""
    fitting = [(speed.title, speed.id) for speed in choices.speeds.values() if speed.fits(spec)]
    return [("The model's own", ""), *fitting]


def _prompt(choices: Choices) -> gr.Textbox:
    label = "Prompt" if choices.mode is Mode.TEXT_TO_VIDEO else "What happens"
    return gr.Textbox(choices.prompt, label=label, lines=3, max_lines=8, placeholder="Describe the clip")


def _negative_prompt(choices: Choices) -> gr.Textbox:
    return gr.Textbox(
        label="Negative prompt", lines=1, max_lines=4, placeholder="What the clip should not show (optional)"
    )


def _words(label: str) -> Callable[[Choices], gr.Textbox]:
    return lambda choices: gr.Textbox(label=label, lines=1, max_lines=3)


def _model(choices: Choices) -> gr.Dropdown:
    return gr.Dropdown(model_choices(choices.models), value=choices.spec.id, label="Model")


def _preset(choices: Choices) -> gr.Radio:
    cards = look_choices(choices.presets)
    value = DEFAULT_PRESET if DEFAULT_PRESET in dict(cards).values() else None
    return gr.Radio(cards, value=value, label="Style", elem_classes="style-cards")


def _quality(choices: Choices) -> gr.Radio:
    return gr.Radio(quality_choices(choices.presets), value="", label="Quality", elem_classes="pills")


def _speed(choices: Choices) -> gr.Dropdown:
    options = speed_choices(choices, choices.spec)
    return gr.Dropdown(options, value="", label="Speed", visible=len(options) > 1)


def _scheduler(choices: Choices) -> gr.Dropdown:
    options = [AUTOMATIC, *((title, name.value) for name, title in SCHEDULERS.items())]
    return gr.Dropdown(options, value="", label="Scheduler", min_width=120)


def _quantization(choices: Choices) -> gr.Dropdown:
    options = [AUTOMATIC, *((PRECISIONS.get(kind, kind.upper()), kind.value) for kind in Precision)]
    return gr.Dropdown(options, value="", label="Weights", min_width=120)


def _noise_size(choices: Choices) -> gr.Textbox:
    label = "Keep the layout of a clip of this seed and size"
    return gr.Textbox(
        label=label, placeholder="such as 192 x 128, or 192 x 128 @ 0.65; blank: none", max_lines=1, min_width=120
    )


def _read_noise_size(text: str | None) -> str | None:
    """Raises RequestError."""
    try:
        return noise_size(text or "") or None
    except UserError as error:
        raise RequestError("noise_size", str(error)) from error


_PROMPT = Field(
    _prompt, lambda values, spec: {"prompt": values["prompt"] or ""}, lambda draft, spec: draft.prompt, is_timed=False
)
_MODEL = Field(_model, lambda values, spec: {"model": values["model"]}, lambda draft, spec: draft.model)
_PRESET = Field(_preset, lambda values, spec: {"preset": values["preset"]}, lambda draft, spec: draft.preset or None)
_GUIDANCE_2 = number("guidance_2", "Guidance of the last steps", float, "guidance_scale_2")

FIELDS: dict[str, Field] = {
    **FILE_FIELDS,
    **FRAMING_FIELDS,
    "prompt": _PROMPT,
    "negative_prompt": plain("negative_prompt", _negative_prompt, is_timed=False),
    "model": _MODEL,
    "preset": _PRESET,
    "quality": plain("quality", _quality),
    "speed": plain("speed", _speed),
    **SIZE_FIELDS,
    "seconds": LENGTH,
    "seed": number("seed", "Seed", int, placeholder="random", is_timed=False),
    "steps": number("steps", "Steps", int, "num_inference_steps"),
    "guidance": number("guidance", "Guidance", float, "guidance_scale"),
    "guidance_2": only_if(has_second_expert, _GUIDANCE_2),
    "flow_shift": number("flow_shift", "Flow shift", float, is_timed=False),
    "fps": number("fps", "Frames per second", int),
    "scheduler": plain("scheduler", _scheduler),
    "quantization": plain("quantization", _quantization),
    **SKIPPING_FIELDS,
    "noise_size": Field(
        _noise_size,
        lambda values, spec: {"noise_size": _read_noise_size(values["noise_size"])},
        lambda draft, spec: draft.noise_size or "",
        is_timed=False,
    ),
    "prompt_before": plain("prompt_before", _words("Words before the prompt"), is_timed=False),
    "prompt_after": plain("prompt_after", _words("Words after the prompt"), is_timed=False),
    "loras": LORAS,
}
