"""The right side of the page: the clip, what can be done with it, and recent clips. It follows one job at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr

from wan_pipeline.jobs.job import UNFINISHED, Job, JobState, QueueState
from wan_pipeline.studio import Studio
from wan_pipeline.ui import cards

POLL_SECONDS = 0.8
RECENT = 24
OPEN_CLICKED = """
element.addEventListener('click', event => {
  const tile = event.target.closest('[data-job]');
  if (tile) trigger('click', {job: tile.dataset.job});
});
"""


@dataclass(frozen=True)
class Stage:
    """The stage's components. `job` holds the id of the job this browser tab follows."""

    job: gr.Textbox
    view: gr.HTML
    actions: gr.Row
    cancel: gr.Button
    reuse: gr.Button
    last_frame: gr.Button
    download: gr.HTML
    strip: gr.HTML
    badge: gr.Textbox
    timer: gr.Timer
    shown: gr.State

    @property
    def outputs(self) -> list[gr.components.Component]:
        return [
            self.view,
            self.cancel,
            self.reuse,
            self.last_frame,
            self.download,
            self.strip,
            self.badge,
            self.timer,
            self.shown,
        ]


def build_stage(names: cards.Names) -> Stage:
    job = gr.Textbox(visible="hidden", elem_id="job", container=False)
    view = gr.HTML(cards.stage(None, None, names), elem_id="view")
    with gr.Row(elem_classes="actions") as actions:
        cancel = gr.Button("Cancel", visible=False, elem_classes="quiet")
        reuse = gr.Button("Reuse settings", visible=False, elem_classes=["quiet", "to-form"])
        last_frame = gr.Button("Use last frame as image", visible=False, elem_classes=["quiet", "to-form"])
        download = gr.HTML("", elem_classes="download-slot")
    strip = gr.HTML("", elem_id="recent", js_on_load=OPEN_CLICKED)
    count = gr.Textbox(visible="hidden", container=False)
    timer = gr.Timer(POLL_SECONDS, active=False)
    return Stage(job, view, actions, cancel, reuse, last_frame, download, strip, count, timer, gr.State({}))


def badge(counts: Mapping[JobState, int], state: QueueState) -> str:
    """How many clips are to be made, for the queue's name in the page's head; with "held" when it is paused."""
    number = sum(counts[each] for each in UNFINISHED)
    return f"{number or ''}{' held' if state.paused else ''}"


def first_job(studio: Studio, wanted: str) -> str:
    """The job a fresh page follows: the one in its address, else the one being made, else the newest clip."""
    if wanted and studio.jobs.job(wanted):
        return wanted
    clips = (job for job in studio.jobs.recent(RECENT) if job.state is JobState.DONE)
    return next((job.id for job in (*studio.jobs.active(), *clips)), "")


def refresh(stage: Stage, studio: Studio, names: cards.Names, job_id: str, shown: dict[str, Any]) -> dict[Any, Any]:
    """Updates for what differs from what this page shows already; a clip that is playing is never touched."""
    job = studio.jobs.job(job_id) if job_id else None
    wanted = _wanted(job, studio, names)
    changed = {name: value for name, value in wanted.items() if shown.get(name) != value}
    updates = {getattr(stage, name): _update(name, value) for name, value in changed.items()}
    return {**updates, stage.shown: wanted} if changed else {stage.shown: gr.skip()}


def _without_lost_files(job: Job) -> Job:
    """Somebody may have moved the clip: then the card and the tile say so, instead of a dead player or picture."""
    return job if job.clip is None or job.clip.is_file() else replace(job, clip=None, poster=None)


def _wanted(job: Job | None, studio: Studio, names: cards.Names) -> dict[str, Any]:
    job = job and _without_lost_files(job)
    recent = [
        _without_lost_files(other) for other in studio.jobs.recent(RECENT) if other.state is not JobState.CANCELLED
    ]
    counts = studio.jobs.counts()
    preview = studio.jobs.preview(job.id) if job and job.state is JobState.RUNNING else None
    return {
        "view": cards.stage(job, preview, names),
        "cancel": job is not None and job.is_active,
        "reuse": job is not None and not job.is_active,
        "last_frame": job is not None and job.clip is not None,
        "download": cards.download(job),
        "strip": cards.strip(recent, job.id if job else ""),
        "badge": badge(counts, studio.jobs.queue_state()),
        "timer": any(counts[state] for state in UNFINISHED),
    }


def _update(name: str, value: Any) -> Any:
    match name:
        case "cancel" | "reuse" | "last_frame":
            return gr.Button(visible=value)
        case "timer":
            return gr.Timer(active=value)
        case _:
            return value
