"""What happens on the stage of the Create room: it follows one job, and leads back from it to the form."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import gradio as gr
from gradio.components import Component

from wan_pipeline.clips.gallery import Clip
from wan_pipeline.errors import UserError
from wan_pipeline.jobs.job import Job, JobState
from wan_pipeline.studio import Studio
from wan_pipeline.ui.common.events import QUIET, Click, Updates
from wan_pipeline.ui.common.messages import toast
from wan_pipeline.ui.common.names import Names, badge_text
from wan_pipeline.ui.common.parts.clip_actions import ClipActions
from wan_pipeline.ui.common.parts.reports import verification_report
from wan_pipeline.ui.common.room import PageLinks, RoomId
from wan_pipeline.ui.common.shown import changed, digests
from wan_pipeline.ui.common.templates import Templates
from wan_pipeline.ui.create import html
from wan_pipeline.ui.create.layout import StageLayout

RECENT = 24
"""Maximum number of clips in the Recent strip."""
JOB_IN_ADDRESS = "() => new URLSearchParams(location.search).get('job') || ''"
KEEP_JOB_IN_ADDRESS = "job => wanStudio.keepJob(job)"


class StageEvents:
    """The events of the stage. What it shows is sent only when it has changed, so that a playing clip plays on."""

    def __init__(
        self, studio: Studio, templates: Templates, names: Names, layout: StageLayout, links: PageLinks
    ) -> None:
        self._studio, self._templates, self._names = studio, templates, names
        self._layout, self._links, self._filler = layout, links, links.filler
        self._clips = ClipActions(studio, links.filler)
        self._actions: Mapping[str, Callable[[Click], Updates]] = {
            "release": self._queue_again(studio.queue.unpause),
            "retry": self._queue_again(studio.queue.retry),
            **dict.fromkeys(self._clips.changes, self._change_clip),
            "vary": self._clips.fill_form,
        }

    def wire(self) -> None:
        layout, page, filled = self._layout, self._links.page, self._filler.outputs
        shown = [*layout.components, self._links.badge]
        page.load(self.open_page, layout.job, [layout.job], js=JOB_IN_ADDRESS, **QUIET)
        gr.on(
            [page.load, self._links.entered(RoomId.CREATE), layout.job.change, layout.clock.tick],
            self.refresh,
            [layout.job, layout.shown],
            shown,
            trigger_mode="always_last",  # one at a time and none lost: no answer can overtake a newer one
            **QUIET,
        )
        layout.job.change(None, layout.job, None, js=KEEP_JOB_IN_ADDRESS)
        layout.strip.click(self.open_job, None, [layout.job], **QUIET)
        for part in (layout.view, layout.clip_acts, layout.toast):
            # By default, Gradio drops a click while the one before it is being answered.
            part.click(self.act, [layout.job, layout.shown], [*shown, *filled], trigger_mode="multiple", **QUIET)
        layout.cancel.click(self.cancel, layout.job, None, **QUIET)
        layout.reuse.click(self.reuse, layout.job, filled, **QUIET)
        layout.last_frame.click(self.use_last_frame, layout.job, filled, **QUIET)

    # What the stage shows

    def open_page(self, wanted: str) -> Updates:
        """The job that a fresh page follows: that in its address, else the running one, else the newest clip."""
        if wanted and self._studio.jobs.job(wanted):
            return {self._layout.job: wanted}
        clips = (job for job in self._studio.jobs.made(RECENT) if job.state is JobState.DONE)
        return {self._layout.job: next((job.id for job in (*self._studio.jobs.active(), *clips)), "")}

    def open_job(self, event: gr.EventData) -> Updates:
        """The job whose tile was clicked."""
        return {self._layout.job: str(event.job)}

    def refresh(self, job_id: str, shown: object) -> Updates:
        """Updates for what differs from what this browser tab shows already."""
        wanted = self.shows(job_id)
        now_shown = digests(wanted)
        names, parts = changed(now_shown, shown), vars(self._layout)
        updates = {parts[name]: _update(parts[name], wanted[name]) for name in names}
        if names:
            updates[self._layout.shown] = now_shown
        counts, state = self._studio.jobs.counts(), self._studio.jobs.queue_state()
        return {**updates, self._links.badge: badge_text(counts, state)}  # always: other rooms change it too

    def shows(self, job_id: str) -> dict[str, Any]:
        """What the stage shows of a job, by name of the component: HTML, or whether a button is visible."""
        jobs, templates = self._studio.jobs, self._templates
        job = jobs.job(job_id) if job_id else None
        job = job and _without_lost_clip(job)
        clip = self._clip_of(job)
        is_binned = clip is not None and clip.is_binned
        clip = None if is_binned else clip
        verification = self._studio.verifications.of(clip.path) if clip else None
        running = job if job and job.state is JobState.RUNNING else None
        preview = jobs.preview(running.id) if running else None
        seconds_left = self._studio.estimates.seconds_left(running) if running else None
        recent = [_without_lost_clip(other) for other in jobs.made(RECENT)]
        return {
            "view": html.stage(
                templates,
                self._names,
                job,
                preview,
                seconds_left=seconds_left,
                is_binned=is_binned,
                is_paused=jobs.queue_state().paused,
            ),
            "cancel": job is not None and job.is_active and not self._studio.is_viewer,
            "reuse": job is not None and not job.is_active,
            "last_frame": job is not None and job.clip is not None,
            "download": html.download(templates, job),
            "clip_acts": html.clip_acts(templates, clip),
            "report": verification_report(templates, verification),
            "strip": html.strip(templates, recent, job_id if job else ""),
        }

    def _clip_of(self, job: Job | None) -> Clip | None:
        """The clip of a finished job, in the gallery or in its bin; None if its file is in neither."""
        if job is None or job.state is not JobState.DONE:
            return None
        found = self._studio.gallery.existing([job.id])  # none where the bin was emptied
        return found[0] if found and found[0].path.is_file() else None

    # What can be done with the job

    def act(self, job_id: str, shown: object, event: gr.EventData) -> Updates:
        """A click on a button of the stage. A toast says what went wrong."""
        click = Click.of(event)
        try:
            done = self._actions[click.act](click)
        except UserError as error:
            done = {self._layout.toast: toast(self._templates, str(error))}
        return {**self.refresh(job_id, shown), **done}

    def cancel(self, job_id: str) -> None:
        self._studio.queue.cancel(job_id)

    def reuse(self, job_id: str) -> Updates:
        """All settings of the job, the seed included, in the form."""
        try:
            draft = self._studio.drafts.of_job(job_id)
            self._studio.models.find(draft.model or "")
            return self._filler.fill(draft)
        except UserError as error:
            return self._filler.notices(str(error))

    def use_last_frame(self, job_id: str) -> Updates:
        """The form for a clip that starts where this one ends."""
        try:
            frame, draft = self._studio.derived.last_frame_of_job(job_id), self._studio.drafts.of_job(job_id)
            return self._filler.go_on_from(frame, draft)
        except UserError as error:
            return self._filler.notices(str(error))

    def _change_clip(self, click: Click) -> Updates:
        """A button that the gallery has too; what it changes shows on the stage."""
        done = self._clips.changes[click.act](click)
        return {self._layout.toast: done.toast(self._templates)} if done.text else {}

    def _queue_again(self, change: Callable[[str], object]) -> Callable[[Click], Updates]:
        """What came of it shows on the stage."""

        def act(click: Click) -> Updates:
            change(click.subject)
            return {}

        return act


def _without_lost_clip(job: Job) -> Job:
    """The job without a clip whose file is gone, so that the page says so and shows no dead player."""
    return job if job.clip is None or job.clip.is_file() else replace(job, clip=None, poster=None)


def _update(component: Component, value: Any) -> Any:
    match component:
        case gr.Button():
            return gr.Button(visible=value)
        case _:
            return value
