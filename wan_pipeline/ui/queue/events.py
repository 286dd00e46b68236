"""Handlers of the queue as a whole, of its rows and of their buttons."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import gradio as gr
from gradio.blocks import Block

from wan_pipeline.errors import UserError
from wan_pipeline.jobs.job import RUNNING, JobState
from wan_pipeline.studio import Studio
from wan_pipeline.ui.common.events import Click, Updates, Values
from wan_pipeline.ui.common.files import served_copy
from wan_pipeline.ui.common.messages import toast
from wan_pipeline.ui.common.names import Names, badge_text
from wan_pipeline.ui.common.parts.thumbnails import Thumbnails
from wan_pipeline.ui.common.parts.training import training_actions, training_now
from wan_pipeline.ui.common.projects import chosen_project
from wan_pipeline.ui.common.room import PageLinks
from wan_pipeline.ui.common.shown import changed, digests
from wan_pipeline.ui.common.templates import Templates
from wan_pipeline.ui.queue import html
from wan_pipeline.ui.queue.layout import QueueLayout
from wan_pipeline.ui.queue.shelves import PAGE_SIZE, SHELVES, Selection
from wan_pipeline.ui.queue.undo import undo, words_of_cancelled, words_of_cleared
from wan_pipeline.wording import plural

MOVABLE = (JobState.QUEUED, JobState.PAUSED)


class QueueEvents:
    """Each handler takes the values of `inputs` and returns updates."""

    def __init__(
        self, studio: Studio, templates: Templates, names: Names, layout: QueueLayout, links: PageLinks
    ) -> None:
        self._studio, self._jobs, self._queue = studio, studio.jobs, studio.queue
        self._templates, self._names, self._layout, self._links = templates, names, layout, links
        self._thumbnails = Thumbnails(studio.requests.pictures)
        # What a button does to the queue, or to the job of this id; the list then shows the rest.
        self._changes: Mapping[str, Callable[[str], object]] = {
            "pause-all": lambda _: self._queue.pause_queue(),
            "resume-all": lambda _: self._queue.resume_queue(),
            "pause-now": lambda _: self._queue.pause_now(),
            "stop-after": lambda _: self._queue.stop_after_current(),
            "duplicate": studio.queue_again,
            "cancel-training": studio.trainings.cancel,
            "stop-works": lambda _: studio.clip_works.stop_all(),
        }
        # Of one row, or of all that are chosen.
        self._many: Mapping[str, Callable[[Sequence[str]], tuple[int, str, Sequence[str]]]] = {
            "hold": lambda ids: (self._queue.many.hold(ids), "held", ()),
            "release": lambda ids: (self._queue.many.release(ids), "released", ()),
            "retry": lambda ids: (self._queue.many.retry(ids), "queued again", ()),
            "cancel": self._cancel,
            "remove": self._clear,
        }
        # All other buttons return their own updates.
        self._answers: Mapping[str, Callable[[Click, Values], Updates]] = {
            **dict.fromkeys(("shelf", "back", "next"), self._select),
            **dict.fromkeys(("top", "up", "down", "move-before", "move-after"), self._move),
            "retry-failed": lambda _, values: self._count(values, self._queue.retry_failed(), "queued again"),
            "clear": lambda _, values: self._count(values, *self._clear(None, self._project(values))),
            "undo": lambda click, values: self._count(values, undo(self._queue.many, click.text), "put back"),
            "export": lambda _, values: self._export(self._project(values)),
            "history": lambda click, _: self._history(click.subject),
            "close": lambda *_: self._layout.updates(dialog=""),
            "show": lambda click, _: self._links.show_job(click.subject),
            "edit": lambda click, _: self._fill_form(click.subject, editing=click.subject),
            "reuse": lambda click, _: self._fill_form(click.subject),
        }

    @property
    def inputs(self) -> set[Block]:
        return {self._layout.selection, self._layout.shown, self._links.project}

    @property
    def outputs(self) -> list[Block]:
        return [*self._layout.components, self._links.badge]

    def refresh(self, values: Values) -> Updates:
        """Updates for what differs from what the browser shows."""
        return self._refresh(values, values[self._layout.selection])

    def act(self, values: Values, event: gr.EventData) -> Updates:
        """A click on any button, or a dragged row. A toast says what went wrong."""
        click = Click.of(event)
        try:
            if change := self._changes.get(click.act):
                change(click.subject)
                return self.refresh(values)
            if change_many := self._many.get(click.act):
                return self._count(values, *change_many(click.text.split() or [click.subject]))
            return self._answers[click.act](click, values)
        except UserError as error:
            return {**self.refresh(values), **self._toast(str(error))}

    # What is shown

    def _refresh(self, values: Values, selection: Selection) -> Updates:
        shows = self._wanted(selection, self._project(values))
        badge = {self._links.badge: shows.pop(self._links.badge)}  # always sent: other rooms change it too
        wanted = {str(part._id): (part, value) for part, value in shows.items()}
        now_shown = digests({name: value for name, (_, value) in wanted.items()})
        names = changed(now_shown, values[self._layout.shown])
        if not names:
            return badge
        return dict(wanted[name] for name in names) | self._layout.updates(shown=now_shown) | badge

    def _project(self, values: Values) -> str | None:
        """The project that the list keeps to; None for all."""
        return chosen_project(self._studio, values.get(self._links.project)) or None

    def _wanted(self, selection: Selection, project: str | None) -> dict[Block, str]:
        """What each part of the page shows now. Only the list keeps to the project: the others wait all the same."""
        counts, state = self._jobs.counts(), self._jobs.queue_state()
        running = next(iter(self._jobs.jobs(RUNNING, limit=1)), None)
        preview = self._jobs.preview(running.id) if running else None
        clip_left = self._studio.estimates.seconds_left(running) if running else None
        shelf, seconds_left = SHELVES[selection.shelf], self._studio.estimates.queue_seconds()
        listed = self._jobs.counts(project)
        jobs = self._jobs.jobs(shelf.states, selection.offset, PAGE_SIZE, project)
        total = sum(listed[state] for state in shelf.states)
        trainings, works = self._studio.trainings.unfinished(), self._studio.clip_works.queued()
        parts = self._layout.updates(
            head=html.head(self._templates, counts, state, seconds_left, works, running=running is not None),
            actions=html.head_actions(
                self._templates, counts, state, running=running is not None, works=works.to_do > 0
            ),
            now=html.now(self._templates, self._names, running, preview, clip_left),
            now_actions=html.now_actions(self._templates, running),
            training=training_now(self._templates, self._names, trainings),
            training_actions=training_actions(self._templates, trainings),
            shelves=html.shelves(self._templates, listed, selection.shelf),
            bar=html.bar(self._templates, selection, total),
            rows=html.rows(self._templates, self._names, jobs, selection, total, self._thumbnails.of),
        )
        return {**parts, self._links.badge: badge_text(counts, state)}

    def _select(self, click: Click, values: Values) -> Updates:
        """Another shelf, or another page of this one."""
        selection: Selection = values[self._layout.selection]
        match click.act:
            case "shelf":
                selection = Selection(click.text)
            case "back":
                selection = replace(selection, offset=max(selection.offset - PAGE_SIZE, 0))
            case "next":
                selection = replace(selection, offset=selection.offset + PAGE_SIZE)
        return {**self._refresh(values, selection), **self._layout.updates(selection=selection)}

    def _toast(self, text: str, undo: Sequence[str] = (), download: Path | None = None) -> Updates:
        return self._layout.updates(toast=toast(self._templates, text, undo, download))

    def _count(self, values: Values, count: int, what: str, undo: Sequence[str] = ()) -> Updates:
        return {**self.refresh(values), **self._toast(f"{plural(count, 'clip')} {what}", undo)}

    # What the buttons do

    def _move(self, click: Click, values: Values) -> Updates:
        before = self._next_after_move(click, values[self._layout.selection].offset, self._project(values))
        if before != click.subject:
            self._queue.move(click.subject, before)
        return self.refresh(values)

    def _next_after_move(self, click: Click, offset: int, project: str | None) -> str | None:
        """The job that the moved one then comes before; None at the end, its own id where it cannot go further."""
        start = 0 if click.act == "top" else max(offset - PAGE_SIZE, 0)  # a job may move to the page before or after
        waiting = [job.id for job in self._jobs.jobs(MOVABLE, start, 3 * PAGE_SIZE, project)]
        if click.subject not in waiting:
            raise UserError("This clip is not waiting any more, so it cannot be moved; look at the list.")
        place = waiting.index(click.subject)
        others = [*waiting[:place], *waiting[place + 1 :], None]
        match click.act:
            case "top":
                return others[0]
            case "up":
                return others[place - 1] if place else click.subject
            case "down":
                return others[place + 1] if place + 1 < len(others) else click.subject
            case "move-before":
                return click.text
            case _:
                return others[others.index(click.text) + 1] if click.text in others else click.subject

    def _cancel(self, ids: Sequence[str]) -> tuple[int, str, Sequence[str]]:
        cancelled = self._queue.many.cancel(ids)
        if cancelled.asked and not cancelled.states:  # one that is being made
            return cancelled.asked, "asked to stop", ()
        return len(cancelled.states), "cancelled", words_of_cancelled(cancelled.states)

    def _clear(self, ids: Sequence[str] | None, project: str | None = None) -> tuple[int, str, Sequence[str]]:
        cleared = self._queue.many.clear(ids, project)
        return cleared.count, "removed from the list", words_of_cleared(cleared)

    def _history(self, job_id: str) -> Updates:
        job = self._jobs.existing(job_id)
        dialog = html.history(self._templates, job, self._jobs.events(job_id), self._jobs.log_excerpt(job_id))
        return self._layout.updates(dialog=dialog)

    def _export(self, project: str | None) -> Updates:
        path = self._studio.lists.export(project=project)
        return self._toast(f"Exported as {path.name}", download=served_copy(path))

    def _fill_form(self, job_id: str, editing: str = "") -> Updates:
        return self._links.filler.fill(self._studio.drafts.of_job(job_id), editing=editing)
