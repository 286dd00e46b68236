"""What the Queue room shows, as HTML: values are prepared here, words and markup are in the templates.

A button's `data-act` names what it does, and the nearest `data-clip` holds the job's id.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from wan_pipeline.jobs.job import FINISHED, WAITING, Event, Job, JobState, QueueState
from wan_pipeline.requests.list_file import CSV_TEMPLATE
from wan_pipeline.ui.common.names import STAGES, Names
from wan_pipeline.ui.common.templates import Templates, clip_length, frame_size
from wan_pipeline.ui.queue.shelves import ACTIONS, PAGE_SIZE, SHELVES, STATE_WORDS, Selection
from wan_pipeline.wording import duration

MAX_PROBLEMS = 12
"""Bad rows of a list that are named; the rest are counted."""


@dataclass(frozen=True)
class Row:
    """A job in the list."""

    job: Job
    place: int
    """In its shelf, from 1."""
    facts: str
    """Its main settings in one line."""

    @property
    def state(self) -> str:
        return STATE_WORDS[self.job.state]

    @property
    def actions(self) -> tuple[str, ...]:
        return ACTIONS[self.job.state]

    @property
    def can_move(self) -> bool:
        return "up" in self.actions

    @property
    def is_unfinished(self) -> bool:
        return self.job.state in SHELVES["next"].states

    @property
    def has_failed(self) -> bool:
        return self.job.state in SHELVES["problems"].states

    @property
    def poster(self) -> Path | None:
        """Of a clip that is done, if its file is still there."""
        is_shown = self.job.state is JobState.DONE and self.job.poster and self.job.poster.is_file()
        return self.job.poster if is_shown else None

    @property
    def icon(self) -> str:
        """Stands for a picture where there is none."""
        if self.has_failed:
            return "retry"
        return {JobState.PAUSED: "pause", JobState.CANCELLED: "close"}.get(self.job.state, "frame")

    @property
    def finished(self) -> str:
        """When, and how long a clip that is done took; empty before."""
        job = self.job
        if job.finished_at is None:
            return ""
        at = job.finished_at.astimezone()
        if job.state is JobState.DONE and job.started_at:
            taken = max((job.finished_at - job.started_at).total_seconds(), 0.0)  # the clock may have been set back
            return f"{at:%H:%M}, in {duration(taken)}"
        return f"{at:%d %b, %H:%M}"


class QueueHtml:
    """Renders the templates of the Queue room. Equal values give equal HTML."""

    def __init__(self, templates: Templates, names: Names) -> None:
        self._templates, self._names = templates, names

    # The queue as a whole

    def head(self, counts: Mapping[JobState, int], state: QueueState, seconds_left: float, *, running: bool) -> str:
        """How much is to do, how long it takes, and how the queue stands."""
        return self._templates.render(
            "queue/head.html",
            waiting=sum(counts[each] for each in WAITING) + running,
            held=counts[JobState.PAUSED],
            seconds_left=seconds_left,
            paused=state.paused,
            stops_after_current=state.stops_after_current,
            running=running,
        )

    def head_actions(self, counts: Mapping[JobState, int], state: QueueState, *, running: bool) -> str:
        finished = sum(counts[each] for each in FINISHED)
        return self._templates.render(
            "queue/head_actions.html",
            unfinished=sum(counts.values()) - finished,
            finished=finished,
            failed=sum(counts[each] for each in SHELVES["problems"].states),
            paused=state.paused,
            stops_after_current=state.stops_after_current,
            running=running,
        )

    # The job being made

    def now(self, job: Job | None, preview: bytes | None) -> str:
        """`preview` is a WebP image. Empty while nothing is being made."""
        if job is None:
            return ""
        stage = "Stopping" if job.cancel_requested else STAGES[job.stage]
        return self._templates.render("queue/now.html", job=job, facts=self._facts(job), stage=stage, preview=preview)

    def now_actions(self, job: Job | None) -> str:
        if job is None:
            return ""
        return self._templates.render("queue/now_actions.html", job=job, names=ACTIONS[JobState.RUNNING])

    # The list

    def shelves(self, counts: Mapping[JobState, int], chosen: str) -> str:
        sizes = {name: sum(counts[state] for state in shelf.states) for name, shelf in SHELVES.items()}
        return self._templates.render("queue/shelves.html", shelves=SHELVES, sizes=sizes, chosen=chosen)

    def rows(self, jobs: Sequence[Job], selection: Selection, total: int) -> str:
        """One page of a shelf that has `total` jobs."""
        rows = [Row(job, place, self._facts(job)) for place, job in enumerate(jobs, selection.offset + 1)]
        return self._templates.render(
            "queue/rows.html",
            rows=rows,
            selection=selection,
            shelf=SHELVES[selection.shelf],
            total=total,
            page_size=PAGE_SIZE,
        )

    def history(self, job: Job, events: Sequence[Event], log: str) -> str:
        """A dialog with all that has happened to a job, and the end of its log."""
        return self._templates.render("queue/history.html", job=job, events=events, log=log)

    # Adding many clips

    def file_help(self) -> str:
        """Which files can be added."""
        return self._templates.render("queue/file_help.html")

    def csv_template(self) -> str:
        """A link to a CSV file to fill in."""
        return self._templates.render("queue/csv_template.html", csv=CSV_TEMPLATE)

    def file_report(self, name: str, estimate: str, problems: Sequence[str]) -> str:
        """What an uploaded list holds. An empty `estimate` means that no row of it can be queued."""
        return self._templates.render(
            "queue/file_report.html", name=name, estimate=estimate, problems=problems, max_problems=MAX_PROBLEMS
        )

    def _facts(self, job: Job) -> str:
        request = job.request
        facts = (
            self._names.preset(request.preset),
            frame_size(request),
            clip_length(request),
            f"{request.num_inference_steps} steps",
            f"seed {request.seed}",
            self._names.model(request.model),
            *(f"{lora.name} {lora.weight:g}" for lora in request.loras),
            job.project,
        )
        return " · ".join(fact for fact in facts if fact)
