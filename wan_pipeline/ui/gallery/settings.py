"""The settings of a clip as a person reads them, and those in which two clips differ."""

from __future__ import annotations

from collections.abc import Sequence

from wan_pipeline.clips.gallery import Clip
from wan_pipeline.requests.inputs.image_fit import MIDDLE, ImageFit
from wan_pipeline.requests.request import GenerationRequest
from wan_pipeline.requests.sampling.early_end import early_end_text
from wan_pipeline.requests.sampling.guidance_interval import interval_text
from wan_pipeline.ui.common.names import Names, not_shown
from wan_pipeline.ui.common.templates import clip_length, frame_size
from wan_pipeline.wording import duration

HASH_CHARACTERS = 12
"""Shown of the hash that an input file is named by."""


def settings(request: GenerationRequest, names: Names) -> dict[str, str]:
    """All that decides the frames, by what the page calls it."""
    return {
        "Prompt": request.prompt,
        "Negative prompt": request.negative_prompt or "none",
        "Model": names.model(request.model),
        "Style": names.preset(request.preset) or "none",
        "LoRAs": ", ".join(f"{lora.name} {lora.strength}" for lora in request.loras) or "none",
        "First frame": _short(request.image) or "none",
        "Seed": str(request.seed),
        "Size": frame_size(request),
        "Length": f"{clip_length(request)}, {request.num_frames} frames at {request.fps}",
        "Steps": str(request.num_inference_steps),
        "Guidance": f"{request.guidance_scale:g}",
        "Flow shift": f"{request.flow_shift:g}",
        "Scheduler": request.scheduler.value,
        "Weights": request.quantization or "automatic",
        **_rare_settings(request),
    }


def history(clip: Clip) -> dict[str, str]:
    """When and where a clip was made, and what of its prompt the model did not know."""
    return {
        **({"Not shown": unknown} if (unknown := not_shown(clip.request)) else {}),
        "Project": clip.project or "none",
        "Made": clip.made_at.astimezone().strftime("%d %b %Y, %H:%M"),
        "Made in": duration(clip.seconds),
        "File": clip.path.name,
        "Frames": f"{clip.frames_sha256[:16]}…" if clip.frames_sha256 else "unknown",
    }


def differences(clips: Sequence[Clip], names: Names) -> dict[str, tuple[str, ...]]:
    """The settings in which clips differ, with the value of each.

    A style may have been edited between clips of equal settings: then their styled prompts differ.
    """
    every = [settings(clip.request, names) for clip in clips]
    if len({(clip.request.preset, clip.request.prompt) for clip in clips}) == 1:
        for own, clip in zip(every, clips, strict=True):
            own["Prompt with style"] = clip.request.styled_prompt
    all_names = dict.fromkeys(name for own in every for name in own)
    rows = {name: tuple(own.get(name, "none") for own in every) for name in all_names}
    return {name: values for name, values in rows.items() if len(set(values)) > 1}


def _rare_settings(request: GenerationRequest) -> dict[str, str]:
    """Settings of few clips, left out where they are not used."""
    cache, guidance_2, interval = request.step_cache, request.guidance_scale_2, request.guidance_interval
    begin = request.begin_size
    used = {
        "Guidance of the last steps": "" if guidance_2 is None else f"{guidance_2:g}",
        "Last frame": _short(request.last_image),
        "Fit of the picture": _fit(request) if request.image else "",
        "Control video": _short(request.control_video),
        "Control mask": _short(request.control_mask),
        "Reference images": ", ".join(_short(name) for name in request.reference_images),
        "Step cache": str(cache) if cache else "",
        "Guidance interval": interval_text(interval) if interval else "",
        "Early end": early_end_text(request.early_end) if request.early_end else "",
        "Noise of a clip of": begin.words if begin else "",
    }
    return {name: value for name, value in used.items() if value}


def _fit(request: GenerationRequest) -> str:
    """Empty for a crop of the middle, which is usual."""
    if request.image_fit is ImageFit.PAD:
        return "with black bars"
    return "" if request.image_crop == MIDDLE else f"cropped at {request.image_crop:.0%}"


def _short(file: str | None) -> str:
    return (file or "")[:HASH_CHARACTERS]
