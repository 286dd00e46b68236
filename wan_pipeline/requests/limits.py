"""The limits of a request: those of every model, as types of its fields, and those of one model, as checks.

Each check raises a RequestError that gives the value, the rule and the way out.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, Field

from wan_pipeline.errors import RequestError
from wan_pipeline.models.precision import Precision
from wan_pipeline.models.spec import LastImage, Mode, ModelSpec, frames_up_to
from wan_pipeline.requests.sampling.early_end import check_early_end
from wan_pipeline.requests.sampling.guidance_interval import guided_steps, interval_text
from wan_pipeline.requests.sampling.noise_size import PATTERN, why_no_steps
from wan_pipeline.requests.sampling.step_cache import MAX_FIRST_BLOCK_CACHE, check_step_cache
from wan_pipeline.requests.texts import MAX_NAME_CHARACTERS, check_characters

if TYPE_CHECKING:
    from wan_pipeline.requests.request import GenerationRequest

MAX_PROMPT_CHARACTERS = 4000
MAX_TEXT_CHARACTERS = 20_000
"""Length of a stored text; a prompt in its preset's template is longer than what was typed."""
MAX_SIDE = 16_384
MAX_FRAMES = 100_000
MAX_FPS = 120
MIN_FLOW_SHIFT = 0.1
MAX_STEPS = 200
MAX_GUIDANCE = 30.0
MAX_FLOW_SHIFT = 30.0
MAX_LORA_WEIGHT = 10.0
MAX_SEED = 2**64 - 1
"""The largest that torch takes. Of its bits the CPU's generator uses the lower 32, here as in ComfyUI."""
MAX_RANDOM_SEED = 2**32 - 1
"""Random seeds are as short as they can be without being fewer."""
RANDOM_SEED = -1
"""Stands for a random seed in lists and settings of other programs."""
MAX_REFERENCES = 4

# Types of a stored request's fields, and of presets.
Text = Annotated[str, Field(max_length=MAX_TEXT_CHARACTERS)]
Note = Annotated[str, Field(max_length=1000)]
Name = Annotated[str, Field(max_length=MAX_NAME_CHARACTERS)]
Seed = Annotated[int, Field(ge=0, le=MAX_SEED)]
Side = Annotated[int, Field(ge=1, le=MAX_SIDE)]
Frames = Annotated[int, Field(ge=1, le=MAX_FRAMES)]
FrameRate = Annotated[int, Field(ge=1, le=MAX_FPS)]
Steps = Annotated[int, Field(ge=1, le=MAX_STEPS)]
Guidance = Annotated[float, Field(ge=0, le=MAX_GUIDANCE)]
FlowShift = Annotated[float, Field(ge=MIN_FLOW_SHIFT, le=MAX_FLOW_SHIFT)]
LoraWeight = Annotated[float, Field(ge=-MAX_LORA_WEIGHT, le=MAX_LORA_WEIGHT)]
FirstBlockCache = Annotated[float, Field(ge=0, le=MAX_FIRST_BLOCK_CACHE)]
CacheAmount = Annotated[float, Field(ge=0, le=1)]
EarlyEndAmount = Annotated[float, Field(ge=0, le=1)]
CropPosition = Annotated[float, Field(ge=0, le=1)]
NoiseLevel = Annotated[float, Field(ge=0, le=1)]
NoiseSizeText = Annotated[str, Field(pattern=f"^({PATTERN})?$")]
"""What `NoiseSize` reads, or nothing."""
References = Annotated[tuple[Name, ...], Field(max_length=MAX_REFERENCES)]


def _in_order(interval: tuple[float, float]) -> tuple[float, float]:
    if interval[0] >= interval[1]:
        raise ValueError("the lower noise level comes first")
    return interval


GuidanceInterval = Annotated[tuple[NoiseLevel, NoiseLevel], AfterValidator(_in_order)]
"""The lowest and the highest noise level with guidance; see `guidance_interval`."""


def check_request(request: GenerationRequest, spec: ModelSpec) -> None:
    """Raise RequestError for the first setting that the model cannot make."""
    _check_mode(request, spec)
    _check_last_image(request, spec)
    _check_control(request, spec)
    _check_prompt("prompt", request.prompt, required=request.mode is Mode.TEXT_TO_VIDEO)
    _check_prompt("negative_prompt", request.negative_prompt, required=False)
    _check_prompt("prompt_before", request.prompt_before, required=False)
    _check_prompt("prompt_after", request.prompt_after, required=False)
    _check_size(request, spec)
    _check_noise_size(request, spec)
    _check_frames(request, spec)
    _check_whole("seed", "Seed", request.seed, 0, MAX_SEED)
    _check_whole("fps", "Frames per second", request.fps, 1, MAX_FPS)
    check_solver(request.num_inference_steps, request.guidance_scale, request.flow_shift)
    _check_second_guidance(request, spec)
    _check_loras(request, spec)
    _check_quantization(request)
    _check_number("image_crop", "Image crop", request.image_crop, 0.0, 1.0)
    _check_number("first_block_cache", "First-block cache", request.first_block_cache, 0.0, MAX_FIRST_BLOCK_CACHE)
    _check_number("cache_amount", "Cache amount", request.cache_amount, 0.0, 1.0)
    _check_guidance_interval(request)
    check_step_cache(request, spec)
    _check_number("early_end", "Early end", request.early_end, 0.0, 1.0)
    check_early_end(request)


def check_solver(num_inference_steps: int | None, guidance_scale: float | None, flow_shift: float | None) -> None:
    """Check the solver's settings, which no model limits further; None is left out. Raises RequestError."""
    if num_inference_steps is not None:
        _check_whole("num_inference_steps", "Steps", num_inference_steps, 1, MAX_STEPS)
    if guidance_scale is not None:
        _check_number("guidance_scale", "Guidance", guidance_scale, 0.0, MAX_GUIDANCE)
    if flow_shift is not None:
        _check_number("flow_shift", "Flow shift", flow_shift, MIN_FLOW_SHIFT, MAX_FLOW_SHIFT)


def _check_mode(request: GenerationRequest, spec: ModelSpec) -> None:
    if request.mode not in spec.modes:
        able = " and ".join(sorted(spec.modes))
        raise RequestError("model", f"{spec.title} does not do {request.mode}; it does {able}: choose another model.")


def _check_last_image(request: GenerationRequest, spec: ModelSpec) -> None:
    if request.last_image and not request.image:
        raise RequestError("image", "There is a last image and no first one; choose the image to start from too.")
    if request.last_image and spec.last_image is LastImage.NO:
        raise RequestError("last_image", f"{spec.title} takes no last image; leave it out or choose another model.")
    if not request.last_image and spec.last_image is LastImage.REQUIRED:
        raise RequestError("last_image", f"{spec.title} needs a last image beside the first; choose one.")


def _check_control(request: GenerationRequest, spec: ModelSpec) -> None:
    files = {
        "control_video": request.control_video,
        "control_mask": request.control_mask,
        "reference_images": request.reference_images,
    }
    for field, value in files.items():
        if value and not spec.takes_control:
            name = field.replace("_", " ")
            raise RequestError(field, f"{spec.title} takes no {name}; leave it out or choose a VACE model.")
    if request.control_mask and not request.control_video:
        raise RequestError("control_mask", "There is a control mask and no control video to apply it to; choose both.")
    if len(request.reference_images) > MAX_REFERENCES:
        count = len(request.reference_images)
        raise RequestError("reference_images", f"{count} reference images are too many; use at most {MAX_REFERENCES}.")


def _check_second_guidance(request: GenerationRequest, spec: ModelSpec) -> None:
    if request.guidance_scale_2 is None:
        return
    if spec.guidance_scale_2 is None:
        raise RequestError("guidance_scale_2", f"{spec.title} has no second expert; leave its guidance out.")
    _check_number("guidance_scale_2", "Guidance of the second expert", request.guidance_scale_2, 0.0, MAX_GUIDANCE)


def _check_guidance_interval(request: GenerationRequest) -> None:
    steps, interval = request.num_inference_steps, request.guidance_interval
    if interval and not guided_steps(steps, request.flow_shift, interval):
        text = interval_text(interval)
        raise RequestError(
            "guidance_interval",
            f"No step of {steps} starts in the guidance interval {text}; widen it, or set guidance to 1.",
        )


def _check_prompt(field: str, text: str, required: bool) -> None:
    name = field.replace("_", " ")
    if required and not text:
        raise RequestError(field, "The prompt is empty; describe what should be seen.")
    if len(text) > MAX_PROMPT_CHARACTERS:
        raise RequestError(
            field,
            f"The {name} has {len(text):,} characters; at most {MAX_PROMPT_CHARACTERS:,} are allowed: shorten it.",
        )
    check_characters(field, text, allowed="\n\r\t")


def _check_size(request: GenerationRequest, spec: ModelSpec) -> None:
    for field, value in (("width", request.width), ("height", request.height)):
        _check_side(field, value, spec)
    if request.width * request.height > spec.max_pixels:
        raise RequestError(
            "width",
            f"{request.width} x {request.height} is larger than {spec.title} allows "
            f"({spec.max_pixels:,} pixels a frame); choose a smaller size.",
        )


def _check_side(field: str, value: int, spec: ModelSpec) -> None:
    name, multiple = field.capitalize().replace("_", " "), spec.size_multiple
    if not _is_whole(value):
        raise RequestError(field, f"{name} {value} is not a whole number; use a multiple of {multiple}.")
    longest = spec.max_pixels // spec.min_side // multiple * multiple
    if not spec.min_side <= value <= longest:
        raise RequestError(field, f"{name} {value} is out of range; {spec.title} makes {spec.min_side} to {longest}.")
    if value % multiple:
        below = max(value // multiple * multiple, spec.min_side)
        above = value // multiple * multiple + multiple
        way_out = f"{below} or {above}" if above > below else f"{above}"
        raise RequestError(
            field, f"{name} {value} is not a multiple of {multiple}, as {spec.title} needs; use {way_out}."
        )


def _check_noise_size(request: GenerationRequest, spec: ModelSpec) -> None:
    begin = request.begin_size
    if begin is None:
        return
    for value in (begin.width, begin.height):
        _check_side("noise_size", value, spec)
    if begin.level is not None and (reason := why_no_steps(request)):
        raise RequestError(
            "noise_size", f"The clip cannot make its first steps at another size: {reason}; write {begin.size} alone."
        )


def _check_frames(request: GenerationRequest, spec: ModelSpec) -> None:
    frames, step = request.num_frames, spec.temporal_compression
    if not _is_whole(frames) or not 1 <= frames <= spec.max_frames:
        raise RequestError("num_frames", f"{frames} frames is out of range; {spec.title} makes 1 to {spec.max_frames}.")
    below = frames_up_to(frames, step)
    if below != frames:
        above = below + step
        way_out = f"{below} or {above}" if above <= spec.max_frames else f"{below}"
        raise RequestError(
            "num_frames", f"{frames} frames is not of the form {step}k+1, which {spec.title} needs; use {way_out}."
        )


def _check_quantization(request: GenerationRequest) -> None:
    known = [precision.value for precision in Precision]
    if request.quantization is not None and request.quantization not in known:
        raise RequestError(
            "quantization", f"Weights '{request.quantization[:40]}' are not known; choose one of: {', '.join(known)}."
        )


def _check_loras(request: GenerationRequest, spec: ModelSpec) -> None:
    for lora in request.loras:
        for weight in (lora.weight, *lora.weights):
            _check_number("loras", f"Weight of LoRA '{lora.name}'", weight, -MAX_LORA_WEIGHT, MAX_LORA_WEIGHT)
        if lora.is_by_expert and spec.guidance_scale_2 is None:
            raise RequestError(
                "loras",
                f"LoRA '{lora.name}' has a weight for each of two experts ({lora.strength}), and {spec.title} has one "
                "expert; give one weight.",
            )


def _check_whole(field: str, name: str, value: object, low: int, high: int) -> None:
    if not _is_whole(value) or not low <= value <= high:  # type: ignore[operator]
        raise RequestError(field, f"{name} {value} is out of range; use a whole number from {low} to {high:,}.")


def _check_number(field: str, name: str, value: float, low: float, high: float) -> None:
    if (
        isinstance(value, bool)
        or not isinstance(value, (int, float))
        or not math.isfinite(value)
        or not low <= value <= high
    ):
        raise RequestError(field, f"{name} {value} is out of range; use a number from {low:g} to {high:g}.")


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
