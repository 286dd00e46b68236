"""How a job stops running: done with a clip, put back, or ended without one."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from wan_pipeline.clips.files import name_in
from wan_pipeline.clips.gallery.scan import Entry
from wan_pipeline.jobs.clip_works import rows as clip_work_rows
from wan_pipeline.jobs.clip_works.work import WorkKind, WorkOrder
from wan_pipeline.jobs.job import RUNNING, EventKind, Finished, JobState
from wan_pipeline.jobs.table.rows import (
    now,
    read_post_processing,
    record_event,
    update_job,
    with_progress,
)
from wan_pipeline.progress import Stage

MAX_ATTEMPTS = 2
"""Workers that may die with a job before it is quarantined."""


def queue_post_processing(connection: sqlite3.Connection, job_id: str) -> None:
    """Queue what its project does to the frames of a finished clip."""
    row = connection.execute("SELECT post_processing, output FROM jobs WHERE id = ?", (job_id,)).fetchone()
    if wanted := read_post_processing(row["post_processing"]):
        clip_work_rows.add(connection, job_id, WorkOrder(WorkKind.FRAMES, wanted, copy_to=row["output"]))


def entry_of(connection: sqlite3.Connection, job_id: str, clip: Finished) -> tuple[Entry, Path]:
    """The gallery's row for a job's clip, and the folder that it is named from."""
    query = "SELECT project, note, made_by, clip_name FROM jobs WHERE id = ?"
    job = connection.execute(query, (job_id,)).fetchone()
    folder = clip.clip.parents[job["clip_name"].count("/")]
    entry = Entry(
        id=job_id,
        request=clip.request,
        clip=name_in(folder, clip.clip),
        poster=name_in(folder, clip.poster),
        made_at=now(),
        frames_sha256=clip.frames_sha256,
        seconds=sum(clip.seconds.values()),
        project=job["project"],
        made_by=job["made_by"],
        note=job["note"],
    )
    return entry, folder


def give_back(connection: sqlite3.Connection, job_id: str, state: JobState, kind: EventKind, detail: str = "") -> bool:
    """Put a running job back, unless it is to be cancelled: then it is. Returns whether it went back."""
    query = "SELECT cancel_requested, stage, step, total FROM jobs WHERE id = ?"
    row = connection.execute(query, (job_id,)).fetchone()
    if row and row["cancel_requested"]:
        end_without_clip(connection, job_id, JobState.CANCELLED, RUNNING)
        return False
    given = update_job(connection, job_id, RUNNING, state=state, stage=Stage.QUEUED)
    if given:
        connection.execute("UPDATE jobs SET attempts = attempts - 1 WHERE id = ?", (job_id,))
        record_event(connection, job_id, kind, with_progress(detail, row))
    return given


def settle(connection: sqlite3.Connection, row: sqlite3.Row, reason: str) -> None:
    """`reason` is that of a node's loss; without one a worker process of this machine died."""
    if row["cancel_requested"]:
        end_without_clip(connection, row["id"], JobState.CANCELLED, RUNNING)
    elif row["attempts"] >= MAX_ATTEMPTS:
        end_without_clip(connection, row["id"], JobState.QUARANTINED, RUNNING, _why_quarantined(row, reason))
    else:
        update_job(connection, row["id"], RUNNING, state=JobState.INTERRUPTED, stage=Stage.QUEUED)
        why = f": {reason.rstrip('.')}" if reason else ""
        detail = with_progress(f"its worker {'was lost' if reason else 'died'} in attempt {row['attempts']}{why}", row)
        record_event(connection, row["id"], EventKind.INTERRUPTED, detail)


def _why_quarantined(row: sqlite3.Row, reason: str) -> str:
    log = f"logs/jobs/{row['id']}.log in the workspace"
    if reason:
        lost = f"The worker was lost {row['attempts']} times while making this clip"
        return f"{lost}, the last time because: {reason} Retry it when the cluster is well; {log} says more."
    return (
        f"The worker process died {row['attempts']} times while making this clip, as it does when memory runs out; "
        f"try a smaller size or fewer frames, and see {log}."
    )


def end_without_clip(
    connection: sqlite3.Connection,
    job_id: str,
    state: JobState,
    states: tuple[JobState, ...],
    error: str | None = None,
) -> None:
    """Move a job that is in one of `states` to a final state without a clip. Leaves a job in another state alone."""
    if update_job(connection, job_id, states, state=state, finished_at=now(), error=error):
        record_event(connection, job_id, EventKind(state.value), error or "")
