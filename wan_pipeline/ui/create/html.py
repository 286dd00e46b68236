"""The HTML of the stage and of the strip of recent clips."""

from __future__ import annotations

from collections.abc import Sequence

from wan_pipeline.clips.gallery import Clip
from wan_pipeline.jobs.job import Job, JobState
from wan_pipeline.ui.common.names import STAGES, Names, download_name, not_shown
from wan_pipeline.ui.common.templates import Templates, clip_length, frame_size
from wan_pipeline.ui.create.in_place import in_place
from wan_pipeline.wording import duration


def stage(
    templates: Templates,
    names: Names,
    job: Job | None,
    preview: bytes | None = None,
    *,
    seconds_left: float | None = None,
    is_binned: bool = False,
    is_paused: bool = False,
) -> str:
    """The job's clip, preview or state, and its settings. Equal jobs give equal HTML, so a playing clip goes on.

    `seconds_left`: until it is done. `is_binned`: its clip is in the bin. `is_paused`: the queue as a whole is.
    """
    if job is None:
        return templates.render("create/stage/empty_stage.html")
    is_done = job.state is JobState.DONE
    return templates.render(
        "create/stage/stage.html",
        job=job,
        said=in_place(job, is_binned=is_binned, is_paused=is_paused),
        preview=preview,
        seconds_left=seconds_left,
        stages=STAGES,
        facts=facts(job, names) if is_done else {},
        not_shown=not_shown(job.request) if is_done else (),
    )


def fault(templates: Templates, text: str, field: str, kind: str = "") -> str:
    """Why Generate failed or, with the kind "lacking", why there is no estimate. `field` is the id of an element."""
    return templates.render("create/fault.html", text=text, field=field, kind=kind)


def facts(job: Job, names: Names) -> dict[str, str]:
    """The settings of a finished clip that a person asks for first."""
    request = job.request
    facts = {
        "Seed": str(request.seed),
        "Style": names.preset(request.preset) or "none",
        "Size": frame_size(request),
        "Length": clip_length(request),
        "Steps": str(request.num_inference_steps),
        "Guidance": f"{request.guidance_scale:g}",
        "Model": names.model(request.model),
    }
    if request.loras:
        facts["LoRAs"] = ", ".join(f"{lora.name} {lora.strength}" for lora in request.loras)
    if job.started_at and job.finished_at:
        facts["Made in"] = duration((job.finished_at - job.started_at).total_seconds())
    return facts


def download(templates: Templates, job: Job | None) -> str:
    """A link that saves the clip; nothing without a clip."""
    if job is None or job.clip is None:
        return ""
    return templates.render("create/stage/download.html", clip=job.clip, name=download_name(job.request.seed, job.id))


def clip_acts(templates: Templates, clip: Clip | None) -> str:
    """Buttons for a finished clip that is in the gallery; empty without one."""
    return templates.render("create/stage/clip_acts.html", clip=clip) if clip else ""


def strip(templates: Templates, jobs: Sequence[Job], shown: str) -> str:
    """Tiles of recent jobs, newest first; that of the job `shown` is marked. A click on a tile names its `data-job`."""
    return templates.render("create/stage/strip.html", jobs=jobs, shown=shown)
