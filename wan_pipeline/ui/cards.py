"""Everything the stage shows, as HTML. Whatever a person typed goes through `escape`, here and nowhere else."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from urllib.parse import quote

from wan_pipeline.jobs.job import Job, JobState
from wan_pipeline.progress import Stage
from wan_pipeline.requests.request import GenerationRequest
from wan_pipeline.wording import duration

STAGES = {
    Stage.QUEUED: "Waiting",
    Stage.LOADING: "Loading the model",
    Stage.ENCODING_TEXT: "Reading the prompt",
    Stage.DENOISING: "Denoising",
    Stage.DECODING: "Decoding",
    Stage.SAVING: "Saving",
}


@dataclass(frozen=True)
class Names:
    """What a person calls models and presets, by id."""

    models: dict[str, str]
    presets: dict[str, str]


def file_url(path: Path) -> str:
    """Where Gradio serves a file of an allowed folder; relative, so that it holds behind a proxy too."""
    return "gradio_api/file=" + quote(path.absolute().as_posix(), safe="/:")


def notice(message: str) -> str:
    """A sentence at the form about something that the person can put right."""
    return f'<p class="notice" role="alert">{escape(message)}</p>' if message else ""


def estimate(text: str, fits: bool = True) -> str:
    """How long the clip will take, and whether the memory is enough; if it is not, what to change."""
    kind = "estimate" if fits else "estimate warning"
    return f'<p class="{kind}" role="status">{escape(text[:1].upper() + text[1:])}</p>'


def hint(message: str) -> str:
    """Why there is no estimate: what the form lacks still, said quietly."""
    return f'<p class="estimate lacking" role="status">{escape(message)}</p>'


# The stage ---------------------------------------------------------------------------------------------------------


def stage(job: Job | None, preview: bytes | None, names: Names) -> str:
    """The large picture and what is said below it. Equal jobs give equal HTML, so a playing clip is left alone."""
    if job is None:
        return _empty()
    match job.state:
        case JobState.DONE:
            return _frame(job.request, _video(job)) + _facts(job, names)
        case JobState.QUEUED:
            return _frame(job.request, _in_line(job.jobs_ahead)) + _words(job.request)
        case JobState.RUNNING:
            return _frame(job.request, _preview(preview) + _progress(job)) + _words(job.request)
        case JobState.CANCELLED:
            return _frame(job.request, _message("Cancelled", "Nothing was kept of this clip.")) + _words(job.request)
        case _:
            text = job.error or "The worker stopped without saying why; the log in the workspace may tell."
            return _frame(job.request, _message("This clip failed", text, "failed")) + _words(job.request)


def _frame(request: GenerationRequest, inner: str) -> str:
    ratio = f"--ratio: {request.width / request.height:.5f}"
    return f'<div class="frame" style="{ratio}">{inner}</div>'


def _empty() -> str:
    return (
        '<div class="frame empty" style="--ratio: 1.66667"><div class="message">'
        '<span class="reel" aria-hidden="true"></span><h2>Your clip appears here</h2>'
        "<p>Describe it, pick a style and press Generate. <kbd>Ctrl</kbd> <kbd>Enter</kbd> works too.</p></div></div>"
    )


def _message(title: str, text: str, kind: str = "calm") -> str:
    role = "alert" if kind == "failed" else "status"
    return f'<div class="message {kind}" role="{role}"><h2>{escape(title)}</h2><p>{escape(text)}</p></div>'


def _in_line(ahead: int) -> str:
    text = "It starts in a moment." if ahead == 0 else f"{ahead} clip{'s' if ahead > 1 else ''} before it."
    spinner = '<span class="spinner" aria-hidden="true"></span>'
    return f'<div class="message" role="status">{spinner}<h2>In line</h2><p>{text}</p></div>'


def _video(job: Job) -> str:
    if job.clip is None:
        return _message(
            "This clip is gone", "Its file is no longer in the workspace; its settings are still here.", "failed"
        )
    poster = f' poster="{file_url(job.poster)}"' if job.poster else ""
    label = escape(f"Clip: {job.request.prompt}", quote=True)
    return (
        f'<video src="{file_url(job.clip)}"{poster} aria-label="{label}" '
        "autoplay muted loop playsinline controls></video>"
    )


def _preview(preview: bytes | None) -> str:
    """The picture itself and not its address, where the worker may replace it while the browser loads it."""
    if preview is None:
        return '<div class="shimmer" aria-hidden="true"></div>'
    source = f"data:image/webp;base64,{b64encode(preview).decode()}"
    return f'<img class="preview" alt="Preview of the clip" src="{source}">'


def _progress(job: Job) -> str:
    title = "Stopping" if job.cancel_requested else STAGES[job.stage]
    share = job.step / job.total if job.total else 0.0
    count = f"step {job.step}/{job.total}" if job.total else ""
    kind = "bar" if job.total else "bar unknown"
    return (
        '<div class="progress" role="status">'
        f'<p><strong>{title}</strong><span class="count">{count}</span>'
        f'<span class="eta">{_eta(job.eta_seconds)}</span></p>'
        f'<div class="{kind}" role="progressbar" aria-label="{title}" aria-valuemin="0" aria-valuemax="100" '
        f'aria-valuenow="{share * 100:.0f}"><i style="width: {share * 100:.1f}%"></i></div></div>'
    )


def _eta(seconds: float | None) -> str:
    return "" if seconds is None else f"{duration(seconds)} left"


# Facts -------------------------------------------------------------------------------------------------------------


def _words(request: GenerationRequest) -> str:
    return f'<p class="words">{escape(request.prompt)}</p>'


def _facts(job: Job, names: Names) -> str:
    rows = (
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in _settings(job, names).items()
    )
    warnings = "".join(f'<p class="notice warning" role="status">{escape(warning)}</p>' for warning in job.warnings)
    return f'{_words(job.request)}<dl class="facts">{"".join(rows)}</dl>{warnings}'


def _settings(job: Job, names: Names) -> dict[str, str]:
    request = job.request
    facts = {
        "Seed": str(request.seed),
        "Style": names.presets.get(request.preset or "", request.preset or "none"),
        "Size": f"{request.width} × {request.height}",
        "Length": f"{(request.num_frames - 1) / request.fps:.3g} s",
        "Steps": str(request.num_inference_steps),
        "Guidance": f"{request.guidance_scale:g}",
        "Model": names.models.get(request.model, request.model),
    }
    if request.loras:
        facts["LoRAs"] = ", ".join(f"{lora.name} {lora.weight:g}" for lora in request.loras)
    if job.started_at and job.finished_at:
        facts["Made in"] = duration((job.finished_at - job.started_at).total_seconds())
    return facts


def download(job: Job | None) -> str:
    """A link that saves the clip under a name that says what it is."""
    if job is None or job.clip is None:
        return ""
    name = f"wan-studio-{job.request.seed}-{job.id[:8]}.mp4"
    return f'<a class="download" href="{file_url(job.clip)}" download="{escape(name, quote=True)}">Download</a>'


# The strip of recent clips -----------------------------------------------------------------------------------------


def strip(jobs: Sequence[Job], shown: str) -> str:
    """Small pictures of recent clips, newest first; a click on one carries its `data-job`."""
    if not jobs:
        return ""
    tiles = "".join(_tile(job, shown) for job in jobs)
    return f'<h2 class="strip-title">Recent</h2><div class="strip" role="list">{tiles}</div>'


def _tile(job: Job, shown: str) -> str:
    words = escape(job.request.prompt or "Clip without a prompt", quote=True)
    current = ' aria-current="true"' if job.id == shown else ""
    if job.state is JobState.DONE and job.poster:
        picture = f'<img src="{file_url(job.poster)}" alt="" loading="lazy">'
    elif job.is_active:
        picture = '<span class="spinner" aria-hidden="true"></span>'
    else:
        picture = f'<span class="mark">{"gone" if job.state is JobState.DONE else job.state}</span>'
    return (
        f'<div role="listitem"><button type="button" class="tile {job.state}" data-job="{escape(job.id, quote=True)}" '
        f'title="{words}" aria-label="Open clip: {words}"{current}>{picture}</button></div>'
    )
