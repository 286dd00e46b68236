"""What the Queue room shows, as HTML: values are prepared here, words and markup are in the templates.

A button's `data-act` names what it does, and the nearest `data-clip` holds the job's id.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from wan_pipeline.jobs.clip_works.rows import Queued
from wan_pipeline.jobs.job import FINISHED, UNFINISHED, Event, Job, JobState, QueueState
from wan_pipeline.requests.lists.files import CSV_TEMPLATE
from wan_pipeline.requests.request import GenerationRequest
from wan_pipeline.ui.common.names import STAGES, Names
from wan_pipeline.ui.common.templates import Templates
from wan_pipeline.ui.queue.row import Row, facts_line
from wan_pipeline.ui.queue.shelves import ACTIONS, ACTIONS_OF_MANY, PAGE_SIZE, SHELVES, Selection

NONE_QUEUED = Queued(0, None)
MAX_PROBLEMS = 12
"""Bad rows of a list that are named; the rest are counted."""


def head(
    templates: Templates,
    counts: Mapping[JobState, int],
    state: QueueState,
    seconds_left: float,
    works: Queued = NONE_QUEUED,
    *,
    running: bool,
) -> str:
    """How much is to do, how long it takes, and how the queue stands. `works` on clips follow when it is idle."""
    return templates.render(
        "queue/head.html",
        to_go=sum(counts[each] for each in UNFINISHED),
        held=counts[JobState.PAUSED],
        seconds_left=seconds_left,
        paused=state.paused,
        pauses_now=state.pauses_now,
        stops_after_current=state.stops_after_current,
        no_room=state.no_room,
        running=running,
        works=works,
    )


def head_actions(
    templates: Templates, counts: Mapping[JobState, int], state: QueueState, *, running: bool, works: bool = False
) -> str:
    """The buttons of the queue as a whole."""
    finished = sum(counts[each] for each in FINISHED)
    return templates.render(
        "queue/head_actions.html",
        unfinished=sum(counts.values()) - finished,
        finished=finished,
        failed=sum(counts[each] for each in SHELVES["problems"].states),
        paused=state.paused,
        pauses_now=state.pauses_now,
        stops_after_current=state.stops_after_current,
        running=running,
        works=works,
    )


def now(
    templates: Templates, names: Names, job: Job | None, preview: bytes | None, seconds_left: float | None = None
) -> str:
    """The job being made; empty without one. `preview` is a WebP image, `seconds_left` until the job is done."""
    if job is None:
        return ""
    stage = "Stopping" if job.cancel_requested else STAGES[job.stage]
    return templates.render(
        "queue/now.html",
        job=job,
        facts=facts_line(names, job),
        stage=stage,
        preview=preview,
        seconds_left=seconds_left,
    )


def now_actions(templates: Templates, job: Job | None) -> str:
    """Its buttons."""
    if job is None:
        return ""
    return templates.render("queue/now_actions.html", job=job, names=ACTIONS[JobState.RUNNING])


def shelves(templates: Templates, counts: Mapping[JobState, int], chosen: str) -> str:
    """A choice between the shelves, each with the number of its jobs."""
    sizes = {name: sum(counts[state] for state in shelf.states) for name, shelf in SHELVES.items()}
    return templates.render("queue/shelves.html", shelves=SHELVES, sizes=sizes, chosen=chosen)


def bar(templates: Templates, selection: Selection, total: int) -> str:
    """What can be done to the chosen jobs of a shelf; empty for an empty one."""
    return templates.render("queue/bar.html", names=ACTIONS_OF_MANY[selection.shelf]) if total else ""


def rows(
    templates: Templates,
    names: Names,
    jobs: Sequence[Job],
    selection: Selection,
    total: int,
    picture: Callable[[GenerationRequest], Path | None] = lambda _: None,
) -> str:
    """One page of a shelf that has `total` jobs. `picture` finds a small one of what a clip is made from."""
    rows = [
        Row(job, place, facts_line(names, job), picture(job.request))
        for place, job in enumerate(jobs, selection.offset + 1)
    ]
    return templates.render(
        "queue/rows.html",
        rows=rows,
        selection=selection,
        shelf=SHELVES[selection.shelf],
        total=total,
        page_size=PAGE_SIZE,
    )


def history(templates: Templates, job: Job, events: Sequence[Event], log: str) -> str:
    """A dialog with all that has happened to a job, and the last lines of its log."""
    return templates.render("queue/history.html", job=job, events=events, log=log)


def file_help(templates: Templates) -> str:
    """Which files can be added."""
    return templates.render("queue/file_help.html")


def csv_template(templates: Templates) -> str:
    """A link to a CSV file to fill in."""
    return templates.render("queue/csv_template.html", csv=CSV_TEMPLATE)


def file_report(
    templates: Templates, name: str, estimate: str, problems: Sequence[str], warnings: Sequence[str] = ()
) -> str:
    """What an uploaded list holds. An empty `estimate` means that no row of it can be queued."""
    return templates.render(
        "queue/file_report.html",
        file_name=name,
        estimate=estimate,
        problems=problems,
        warnings=warnings,
        max_problems=MAX_PROBLEMS,
    )
