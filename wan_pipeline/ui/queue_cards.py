"""What the queue shows, as HTML: its head, what is being made, the list, and one job's history. Typed text is escaped.

A button's `data-act` says what a click on it asks for, and the nearest `data-clip` for which job.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from wan_pipeline.jobs.job import Event, Job, JobState, QueueState
from wan_pipeline.ui.cards import STAGES, Names, file_url
from wan_pipeline.ui.icons import action, icon, sign
from wan_pipeline.wording import duration

PAGE_SIZE = 50


@dataclass(frozen=True)
class Shelf:
    """One part of the list that a person may look at."""

    title: str
    states: tuple[JobState, ...]
    title_when_empty: str
    text_when_empty: str


SHELVES = {
    "next": Shelf(
        "Up next",
        (JobState.INTERRUPTED, JobState.QUEUED, JobState.PAUSED),
        "Nothing waits",
        "Add many clips above, or make one under Create. The queue goes on when this page is closed.",
    ),
    "done": Shelf("Done", (JobState.DONE,), "Nothing done yet", "Finished clips are listed here and in the gallery."),
    "problems": Shelf(
        "Problems", (JobState.FAILED, JobState.QUARANTINED), "No problems", "A clip that fails says here why."
    ),
    "cancelled": Shelf("Cancelled", (JobState.CANCELLED,), "Nothing cancelled", "Clips that you stop are listed here."),
}

STATE_WORDS = {
    JobState.QUEUED: "Waiting",
    JobState.RUNNING: "Being made",
    JobState.INTERRUPTED: "Interrupted, goes on next",
    JobState.PAUSED: "Held",
    JobState.DONE: "Done",
    JobState.FAILED: "Failed",
    JobState.CANCELLED: "Cancelled",
    JobState.QUARANTINED: "Quarantined",
}


# The head ----------------------------------------------------------------------------------------------------------


def head(counts: Mapping[JobState, int], state: QueueState, seconds_left: float, running: bool) -> str:
    """How much is to do and how long it takes."""
    waiting = counts[JobState.QUEUED] + counts[JobState.INTERRUPTED] + running
    return f"{_title(waiting, seconds_left)}<p>{_remark(waiting, counts[JobState.PAUSED], state, running)}</p>"


def head_acts(counts: Mapping[JobState, int], state: QueueState, running: bool) -> str:
    """What can be done to the queue as a whole."""
    failed = counts[JobState.FAILED] + counts[JobState.QUARANTINED]
    finished = failed + counts[JobState.DONE] + counts[JobState.CANCELLED]
    unfinished = sum(counts.values()) - finished
    return (
        (_go_or_stop(state, running) if unfinished or state.paused else "")
        + (action("retry-failed", "Retry failed", "retry") if failed else "")
        + (action("clear", "Clear finished", "bin") if finished else "")
        + (action("export", "Export", "share") if unfinished else "")
    )


def _title(waiting: int, seconds_left: float) -> str:
    if not waiting:
        return "<h2>The queue is empty</h2>"
    return f"<h2>{waiting:,} clip{'' if waiting == 1 else 's'} to go <span>about {duration(seconds_left)}</span></h2>"


def _remark(waiting: int, held: int, state: QueueState, running: bool) -> str:
    also = f" {held} held by you." if held else ""
    if state.paused:
        return ("Paused. The clip that is being made is finished first." if running else "Paused.") + also
    if state.stops_after_current:
        return "It stops when this clip is done." + also
    if not waiting:
        return "Close the page or the browser whenever you like: clips are made without them." + also
    return "Clips are made one after another, also when this page is closed." + also


def _go_or_stop(state: QueueState, running: bool) -> str:
    if state.paused:
        return action("resume-all", "Resume", "play", kind="main")
    pause = action("pause-all", "Pause all", "pause")
    if state.stops_after_current:
        return action("resume-all", "Do not stop", "play", kind="main") + pause
    return pause + (action("stop-after", "Stop after this one", "close") if running else "")


# What is being made ------------------------------------------------------------------------------------------------


def now(job: Job | None, preview: bytes | None, names: Names) -> str:
    if job is None:
        return ""
    title = "Stopping" if job.cancel_requested else STAGES[job.stage]
    share = job.step / job.total if job.total else 0.0
    step = f"step {job.step} of {job.total}" if job.total else ""
    eta = f"{duration(job.eta_seconds)} left" if job.eta_seconds is not None else ""
    picture = (
        f'<img alt="" src="data:image/webp;base64,{b64encode(preview).decode()}">'
        if preview
        else '<span class="shimmer"></span>'
    )
    return (
        f'<section class="now"><div class="thumb large">{picture}</div><div class="now-words">'
        f'<p class="title">{_words(job)}</p><p class="meta">{_meta(job, names)}</p>'
        f'<p class="stage"><strong>{title}</strong><span>{step}</span><span class="eta">{eta}</span></p>'
        f'<div class="{"bar" if job.total else "bar unknown"}" role="progressbar" aria-label="{title}" '
        f'aria-valuemin="0" aria-valuemax="100" aria-valuenow="{share * 100:.0f}"><i style="width: {share * 100:.1f}%">'
        f"</i></div>{_remarks(job)}</div></section>"
    )


def now_acts(job: Job | None) -> str:
    if job is None:
        return ""
    return (
        f'<div class="job-acts" data-clip="{_id(job)}">{sign("show", "Watch it", "frame")}'
        f"{sign('duplicate', 'Queue again', 'duplicate')}{sign('history', 'History and log', 'log')}"
        f"{sign('cancel', 'Cancel', 'close', kind='bad')}</div>"
    )


# The list ----------------------------------------------------------------------------------------------------------


def shelves(counts: Mapping[JobState, int], chosen: str) -> str:
    """The parts of the list, each with its number."""
    buttons = (
        f'<button type="button" role="radio" data-act="shelf" data-ids="{name}" '
        f'aria-checked="{str(name == chosen).lower()}">{shelf.title}'
        f"<span>{sum(counts[state] for state in shelf.states):,}</span></button>"
        for name, shelf in SHELVES.items()
    )
    return f'<div class="shelves" role="radiogroup" aria-label="Which jobs">{"".join(buttons)}</div>'


def rows(jobs: Sequence[Job], shelf: str, offset: int, total: int, names: Names) -> str:
    if not jobs:
        empty = SHELVES[shelf]
        return f'<div class="nothing"><h2>{empty.title_when_empty}</h2><p>{empty.text_when_empty}</p></div>'
    lines = "".join(_row(job, offset + place, names) for place, job in enumerate(jobs, 1))
    return f'<div class="rows {shelf}" role="list">{lines}</div>{_pager(offset, len(jobs), total)}'


def _row(job: Job, place: int, names: Names) -> str:
    can_move = job.state in (JobState.QUEUED, JobState.PAUSED)
    grip = (
        f'<span class="grip" draggable="true" title="Drag to another place">{icon("grip")}</span>' if can_move else ""
    )
    number = place if job.state in SHELVES["next"].states else ""
    return (
        f'<article role="listitem" class="job-row {job.state}" data-clip="{_id(job)}">'
        f'<div class="place">{grip}<span>{number}</span></div><div class="thumb"{_style(job)}>{_thumb(job)}</div>'
        f'<div class="what"><p class="title" title="{_words(job)}">{_words(job)}</p>'
        f'<p class="meta">{_meta(job, names)}</p>{_remarks(job)}</div>'
        f'<div class="state"><span class="pill {job.state}">{STATE_WORDS[job.state]}</span>{_when(job)}</div>'
        f'<div class="job-acts">{_row_acts(job)}</div></article>'
    )


def _style(job: Job) -> str:
    """A clip that has no picture yet shows its style's."""
    shows = job.state in SHELVES["next"].states and job.request.preset
    return f' data-preset="{escape(job.request.preset or "", quote=True)}"' if shows else ""


def _thumb(job: Job) -> str:
    if job.state is JobState.DONE and job.poster and job.poster.is_file():
        return (
            '<button type="button" data-act="show" aria-label="Show the clip">'
            f'<img src="{file_url(job.poster)}" alt="" loading="lazy"></button>'
        )
    signs = {JobState.DONE: "frame", JobState.PAUSED: "pause", JobState.CANCELLED: "close"}
    problem = job.state in SHELVES["problems"].states
    return f'<span class="mark">{icon("retry" if problem else signs.get(job.state, "frame"))}</span>'


def _meta(job: Job, names: Names) -> str:
    request = job.request
    parts = [
        names.presets.get(request.preset or "", request.preset or ""),
        f"{request.width} × {request.height}",
        f"{(request.num_frames - 1) / request.fps:.3g} s",
        f"{request.num_inference_steps} steps",
        f"seed {request.seed}",
        names.models.get(request.model, request.model),
        *(f"{lora.name} {lora.weight:g}" for lora in request.loras),
        job.project,
    ]
    return " · ".join(escape(part) for part in parts if part)


def _remarks(job: Job) -> str:
    """Why it is as it is: errors first, then what was done about trouble on the way."""
    remarks = [(job.error or "", "bad")] if job.state in SHELVES["problems"].states else []
    remarks += [(job.request_error or "", "bad")]
    if job.plan_steps_down:
        remarks.append((f"Memory ran out; it is made with the smaller memory plan “{job.plan}”.", ""))
    if job.resumed_from:
        remarks.append((f"It went on from step {job.resumed_from}, where its worker had died.", ""))
    elif job.attempts > 1:
        remarks.append((f"Attempt {job.attempts}: its worker had died.", ""))
    return "".join(f'<p class="remark {kind}">{escape(text)}</p>' for text, kind in remarks if text)


def _when(job: Job) -> str:
    if job.state is JobState.DONE and job.started_at and job.finished_at:
        made_in = duration(max((job.finished_at - job.started_at).total_seconds(), 0.0))
        return f"<small>{job.finished_at.astimezone():%H:%M}, in {made_in}</small>"
    return f"<small>{job.finished_at.astimezone():%d %b, %H:%M}</small>" if job.finished_at else ""


def _row_acts(job: Job) -> str:
    again = sign("duplicate", "Queue again", "duplicate")
    history = sign("history", "History and log", "log")
    cancel = sign("cancel", "Cancel", "close", kind="bad")
    move = sign("top", "To the front", "top") + sign("up", "Earlier", "up") + sign("down", "Later", "down")
    match job.state:
        case JobState.QUEUED:
            return f"{move}{sign('edit', 'Change', 'edit')}{again}{sign('hold', 'Hold', 'pause')}{history}{cancel}"
        case JobState.PAUSED:
            return (
                f"{move}{sign('edit', 'Change', 'edit')}{again}{sign('release', 'Let go on', 'play')}{history}{cancel}"
            )
        case JobState.INTERRUPTED:
            return f"{sign('hold', 'Hold', 'pause')}{history}{cancel}"
        case JobState.DONE:
            return f"{sign('reuse', 'Reuse settings', 'reuse')}{again}{history}"
        case _:
            return f"{sign('retry', 'Try again', 'retry')}{sign('reuse', 'Reuse settings', 'reuse')}{again}{history}"


def _pager(offset: int, shown: int, total: int) -> str:
    if total <= PAGE_SIZE:
        return ""
    before = "" if offset else " disabled"
    after = "" if offset + shown < total else " disabled"
    return (
        '<nav class="pager" aria-label="Pages">'
        f'<button type="button" class="act" data-act="back"{before}>{icon("left")}<span>Back</span></button>'
        f"<p>{offset + 1:,} to {offset + shown:,} of {total:,}</p>"
        f'<button type="button" class="act" data-act="on"{after}><span>On</span>{icon("right")}</button></nav>'
    )


# One job's history -------------------------------------------------------------------------------------------------


def history(job: Job, events: Sequence[Event], log: str) -> str:
    """All that has happened to a job, and the end of its log."""
    lines = "".join(
        f"<tr><th scope='row'>{event.at.astimezone():%d %b, %H:%M:%S}</th>"
        f"<td>{escape(event.kind.value.replace('_', ' ').capitalize())}</td><td>{escape(event.detail)}</td></tr>"
        for event in events
    )
    tail = f"<h3>The end of its log</h3><pre>{escape(log)}</pre>" if log else ""
    return (
        '<div class="veil"><div class="dialog" role="dialog" aria-modal="true" aria-label="History of a job">'
        f"{sign('close', 'Close', 'close', kind='close')}<h2>{_words(job)}</h2>"
        f'<p class="meta">Job {escape(job.id)}</p><table class="settings events"><tbody>{lines}</tbody></table>'
        f"{tail}</div></div>"
    )


def _id(job: Job) -> str:
    return escape(job.id, quote=True)


def _words(job: Job) -> str:
    return escape(job.request.prompt or "Clip without a prompt", quote=True)
