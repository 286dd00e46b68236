"""Two clips side by side under one set of controls, and the settings in which they differ. Typed text is escaped."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from wan_pipeline.clips.gallery import Clip
from wan_pipeline.requests.request import GenerationRequest
from wan_pipeline.ui.cards import Names, file_url
from wan_pipeline.ui.icons import sign
from wan_pipeline.wording import duration


def settings(request: GenerationRequest, names: Names) -> dict[str, str]:
    """All that decides the frames, as a person reads it."""
    return {
        "Prompt": request.prompt,
        "Negative prompt": request.negative_prompt or "none",
        "Model": names.models.get(request.model, request.model),
        "Style": names.presets.get(request.preset or "", request.preset or "none"),
        "LoRAs": ", ".join(f"{lora.name} {lora.weight:g}" for lora in request.loras) or "none",
        "First frame": request.image[:12] if request.image else "none",
        "Seed": str(request.seed),
        "Size": f"{request.width} × {request.height}",
        "Length": f"{(request.num_frames - 1) / request.fps:.3g} s, {request.num_frames} frames at {request.fps}",
        "Steps": str(request.num_inference_steps),
        "Guidance": f"{request.guidance_scale:g}",
        "Flow shift": f"{request.flow_shift:g}",
        "Scheduler": request.scheduler.value,
        "Weights": request.quantization or "automatic",
        **_where_used(request),
    }


def _where_used(request: GenerationRequest) -> dict[str, str]:
    """What few clips have; left out where there is nothing to say."""
    cache = request.first_block_cache
    given = {
        "Guidance of the last steps": "" if request.guidance_scale_2 is None else f"{request.guidance_scale_2:g}",
        "Last frame": (request.last_image or "")[:12],
        "Control video": (request.control_video or "")[:12],
        "Control mask": (request.control_mask or "")[:12],
        "Reference images": ", ".join(name[:12] for name in request.reference_images),
        "First-block cache": f"{cache:g}" if cache else "",
    }
    return {name: value for name, value in given.items() if value}


def history(clip: Clip) -> dict[str, str]:
    return {
        "Project": clip.project or "none",
        "Made": clip.made_at.astimezone().strftime("%d %b %Y, %H:%M"),
        "Made in": duration(clip.seconds),
        "File": clip.path.name,
        "Frames": f"{clip.frames_sha256[:16]}…" if clip.frames_sha256 else "unknown",
    }


def table(facts: Mapping[str, str]) -> str:
    rows = "".join(
        f'<tr><th scope="row">{name}</th><td>{escape(value)}</td></tr>'
        for name, value in facts.items()
        if name != "Prompt"
    )
    return f'<table class="settings"><tbody>{rows}</tbody></table>'


def differences(one: Clip, two: Clip, names: Names) -> dict[str, tuple[str, str]]:
    """Settings in which two clips differ. A style may have been edited between them: then its words differ."""
    first, second = settings(one.request, names), settings(two.request, names)
    if one.request.preset == two.request.preset and one.request.prompt == two.request.prompt:
        first["With its style"], second["With its style"] = one.request.styled_prompt, two.request.styled_prompt
    pairs = {name: (first.get(name, "none"), second.get(name, "none")) for name in {**first, **second}}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def compare(one: Clip, two: Clip, names: Names) -> str:
    """Two clips under one set of controls; `compare.js` keeps them together."""
    different = differences(one, two, names)
    if different:
        rows = "".join(
            f'<tr><th scope="row">{name}</th><td>{escape(a)}</td><td>{escape(b)}</td></tr>'
            for name, (a, b) in different.items()
        )
        below = f'<table class="settings differ"><tbody>{rows}</tbody></table>'
    elif one.frames_sha256 and one.frames_sha256 == two.frames_sha256:
        below = '<p class="same">Same settings, and the same frames to the last bit.</p>'
    else:
        below = '<p class="same">Same settings. The frames differ: another machine, version or file made them.</p>'
    shut = sign("close", "Close", "close", kind="close")
    return (
        f'<div class="compare" role="dialog" aria-modal="true" aria-label="Compare two clips">{shut}'
        f'<div class="pair-view">{_side(one)}{_side(two)}</div>'
        '<div class="controls"><button type="button" class="sign" data-play aria-label="Play or pause"></button>'
        '<input type="range" min="0" max="1000" value="0" step="1" data-scrub aria-label="Position in both clips">'
        f"<output data-time>0.0 s</output></div>{below}</div>"
    )


def _side(clip: Clip) -> str:
    ratio = f"--ratio: {clip.request.width / clip.request.height:.5f}"
    return (
        f'<figure><div class="frame" style="{ratio}">'
        f'<video src="{file_url(clip.path)}" muted playsinline preload="auto"></video></div>'
        f"<figcaption>{escape(clip.request.prompt)}</figcaption></figure>"
    )
