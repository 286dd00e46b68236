"""What happens in the queue's list: parse, ask the queue or the studio, map the answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
from gradio import processing_utils

from wan_pipeline.errors import UserError
from wan_pipeline.jobs.job import Job, JobState
from wan_pipeline.jobs.log import JobLogs
from wan_pipeline.studio import Studio
from wan_pipeline.ui import queue_cards
from wan_pipeline.ui.cards import Names, file_url
from wan_pipeline.ui.filling import CREATE, Filler
from wan_pipeline.ui.gallery_cards import toast
from wan_pipeline.ui.queue_cards import PAGE_SIZE, SHELVES
from wan_pipeline.ui.queue_tab import QueueTab
from wan_pipeline.ui.stage import Stage, badge

Look = dict[str, Any]
Updates = dict[Any, Any]


@dataclass(frozen=True)
class Click:
    """What was clicked, and which part of the list this browser tab shows."""

    act: str
    job: str
    text: str
    look: Look
    shown: dict[str, Any]


class QueueHandlers:
    """Events of the queue as a whole and of its rows."""

    def __init__(self, studio: Studio, names: Names, view: QueueTab, stage: Stage, filler: Filler) -> None:
        self._studio, self._jobs, self._queue, self._names = studio, studio.jobs, studio.queue, names
        self._view, self._stage, self._filler = view, stage, filler
        self._simple: dict[str, Callable[[str], object]] = {
            "pause-all": lambda _: self._queue.pause_queue(),
            "resume-all": lambda _: self._queue.resume_queue(),
            "stop-after": lambda _: self._queue.stop_after_current(),
            "cancel": self._queue.cancel,
            "hold": self._queue.pause,
            "release": self._queue.unpause,
            "duplicate": self._queue.duplicate,
            "retry": self._queue.retry,
        }
        self._acts: dict[str, Callable[[Click], Updates]] = {
            "shelf": lambda click: self._list(click, shelf=click.text, offset=0),
            "on": lambda click: self._list(click, offset=click.look["offset"] + PAGE_SIZE),
            "back": lambda click: self._list(click, offset=max(click.look["offset"] - PAGE_SIZE, 0)),
            **dict.fromkeys(("top", "up", "down", "move-before", "move-after"), self._move),
            "retry-failed": lambda click: self._count(click, self._queue.retry_failed(), "queued again"),
            "clear": lambda click: self._count(click, self._queue.clear_finished(), "taken off the list"),
            "export": self._export,
            "history": self._history,
            "close": lambda _: {self._view.over: ""},
            "show": lambda click: {self._stage.job: click.job, self._filler.rooms: gr.Tabs(selected=CREATE)},
            "edit": lambda click: self._filler.fill(self._studio.draft_of_job(click.job), editing=click.job),
            "reuse": lambda click: self._filler.fill(self._studio.draft_of_job(click.job)),
        }

    def enter(self, look: Look, shown: dict[str, Any]) -> Updates:
        """The room is opened: from now on it follows what happens."""
        return {**self.refresh(look, shown), self._view.timer: gr.Timer(active=True)}

    def leave(self) -> Updates:
        return {self._view.timer: gr.Timer(active=False)}

    def refresh(self, look: Look, shown: dict[str, Any]) -> Updates:
        """Updates for what differs from what this page shows already."""
        wanted = self._wanted(look)
        changed = {name: value for name, value in wanted.items() if shown.get(name) != value}
        updates: Updates = {getattr(self._view, name): value for name, value in changed.items()}
        return {**updates, self._view.shown: wanted} if changed else {self._view.shown: gr.skip()}

    def act(self, look: Look, shown: dict[str, Any], event: gr.EventData) -> Updates:
        """A click on anything. What goes wrong is said at the foot of the page, and the list is made true."""
        click = Click(event.act, event.clip, event.text, look, shown)
        try:
            if click.act in self._simple:
                self._simple[click.act](click.job)
                return self.refresh(look, shown)
            return self._acts[click.act](click)
        except UserError as error:
            return {**self.refresh(look, shown), self._view.toast: toast(str(error))}

    # What is shown

    def _wanted(self, look: Look) -> dict[str, Any]:
        counts, state = self._jobs.counts(), self._jobs.queue_state()
        running = next(iter(self._jobs.jobs((JobState.RUNNING,), limit=1)), None)
        preview = self._studio.jobs.preview(running.id) if running else None
        states, offset = SHELVES[look["shelf"]].states, look["offset"]
        jobs, total = self._jobs.jobs(states, offset, PAGE_SIZE), sum(counts[state] for state in states)
        return {
            "head": queue_cards.head(counts, state, self._studio.estimates.queue_seconds(), running is not None),
            "acts": queue_cards.head_acts(counts, state, running is not None),
            "now": queue_cards.now(running, preview, self._names),
            "now_acts": queue_cards.now_acts(running),
            "shelves": queue_cards.shelves(counts, look["shelf"]),
            "rows": queue_cards.rows(jobs, look["shelf"], offset, total, self._names),
            "badge": badge(counts, state),
        }

    def _list(self, click: Click, **changes: Any) -> Updates:
        look = {**click.look, **changes}
        return {**self.refresh(look, click.shown), self._view.look: look}

    def _count(self, click: Click, count: int, what: str) -> Updates:
        text = f"{count:,} clip{'' if count == 1 else 's'} {what}"
        return {**self.refresh(click.look, click.shown), self._view.toast: toast(text)}

    # What is done

    def _move(self, click: Click) -> Updates:
        before = self._place(click)
        if before != click.job:
            self._queue.move(click.job, before)
        return self.refresh(click.look, click.shown)

    def _place(self, click: Click) -> str | None:
        """The job before which the clicked one shall stand; itself where it cannot go further, None for the end."""
        states = (JobState.QUEUED, JobState.PAUSED)
        first = click.look["offset"] and max(click.look["offset"] - PAGE_SIZE, 0)
        line = [job.id for job in self._jobs.jobs(states, 0 if click.act == "top" else first, 3 * PAGE_SIZE)]
        if click.job not in line:
            raise UserError("This clip is not waiting any more; look at the list.")
        place = line.index(click.job)
        rest = [*line[:place], *line[place + 1 :], None]
        match click.act:
            case "top":
                return rest[0]
            case "up":
                return rest[place - 1] if place else click.job
            case "down":
                return rest[place + 1] if place + 1 < len(rest) else click.job
            case "move-before":
                return click.text
            case _:
                return rest[rest.index(click.text) + 1] if click.text in rest else click.job

    def _history(self, click: Click) -> Updates:
        job = self._job(click.job)
        log = JobLogs(self._studio.settings.job_logs).excerpt(job.id)
        return {self._view.over: queue_cards.history(job, self._jobs.events(job.id), log)}

    def _export(self, click: Click) -> Updates:
        """A copy in Gradio's own cache, which it serves; so the studio's folders need not be served."""
        path = self._studio.export_queue()
        served = processing_utils.save_file_to_cache(path, self._view.rows.GRADIO_CACHE)
        link = f'<a data-auto href="{file_url(Path(served))}" download="{escape(path.name)}">Download</a>'
        return {self._view.toast: toast(f"Exported as {path.name}", more=link)}

    def _job(self, job_id: str) -> Job:
        job = self._jobs.job(job_id)
        if job is None:
            raise UserError(f"There is no job {job_id[:8]} any more; look at the list.")
        return job
