"""What a worker does with the job table. All of it is for the holder of the worker lock."""

from __future__ import annotations

import json
import os
import sqlite3

from wan_pipeline.clips import gallery
from wan_pipeline.clips.sidecars import Entry
from wan_pipeline.jobs.job import UNFINISHED, EventKind, Finished, Job, JobState
from wan_pipeline.jobs.reader import JobTable, change, get, note, now, put, sql_list
from wan_pipeline.progress import Progress, Stage
from wan_pipeline.requests.stored import read_request

MAX_ATTEMPTS = 2
MAX_OVERTAKEN = 8
"""How many jobs of another model may go before one, to spare the loading of weights."""

RUNNING = (JobState.RUNNING,)


class WorkTable(JobTable):
    """The job table with the changes that a worker makes."""

    def claim(self, loaded: str | None = None) -> Job | None:
        """Take up the next job, or give None when none waits or the queue is paused.

        Interrupted jobs come first, then the rest by position. While weights of the model `loaded` are in memory, its
        jobs go before those of other models, but never before one that the person moved by hand, and before any one
        job at most MAX_OVERTAKEN times: so every job gets its turn. A job whose settings cannot be read fails here.
        After `stop_after_current` only a job that was interrupted is still taken; then the queue is paused.
        """
        with self._database.transaction() as connection:
            while (row := _next(connection, loaded)) is not None:
                _, error = read_request(row["request"])
                if error is None:
                    _start(connection, row)
                    break
                _end(connection, row["id"], JobState.FAILED, (JobState(row["state"]),), error)
        return self.job(row["id"]) if row else None

    def heartbeat(self, pid: int, job_id: str | None) -> None:
        """Say that the worker lives, and with which job."""
        with self._database.transaction() as connection:
            count = json.loads(get(connection, "heartbeat", "{}")).get("count", 0) + 1
            put(connection, "heartbeat", json.dumps({"count": count, "at": now(), "pid": pid, "job": job_id}))

    def progress(self, job_id: str, progress: Progress, preview_version: int) -> None:
        with self._database.transaction() as connection:
            change(
                connection,
                job_id,
                RUNNING,
                stage=progress.stage,
                step=progress.step,
                total=progress.total,
                eta_seconds=progress.eta_seconds,
                preview_version=preview_version,
            )

    def is_cancel_requested(self, job_id: str) -> bool:
        with self._database.connection() as connection:
            row = connection.execute("SELECT cancel_requested FROM jobs WHERE id = ?", (job_id,)).fetchone()
        return bool(row and row["cancel_requested"])

    def note_resumed(self, job_id: str, step: int) -> None:
        """The running job goes on from a checkpoint after `step` denoising steps."""
        with self._database.transaction() as connection:
            if change(connection, job_id, RUNNING, resumed_from=step):
                note(connection, job_id, EventKind.RESUMED, f"from step {step}")

    def tell(self, job_id: str, kind: EventKind, detail: str) -> None:
        """Write down what has happened around a job, which stays as it is."""
        with self._database.transaction() as connection:
            note(connection, job_id, kind, detail)

    # How a job ends

    def finish(self, job_id: str, clip: Finished) -> None:
        """A running job is done, and its clip in the gallery.

        The files lie in the clips folder; only their names are kept, so it may move.
        """
        self._accept(job_id, clip, EventKind.DONE)

    def adopt(self, job_id: str, clip: Finished) -> None:
        """The clip of an unfinished job was found whole on the disk: it is done, and not made again."""
        self._accept(job_id, clip, EventKind.ADOPTED)

    def fail(self, job_id: str, error: str) -> None:
        with self._database.transaction() as connection:
            _end(connection, job_id, JobState.FAILED, RUNNING, error)

    def mark_cancelled(self, job_id: str) -> None:
        with self._database.transaction() as connection:
            _end(connection, job_id, JobState.CANCELLED, RUNNING)

    def release(self, job_id: str) -> None:
        """Give a running job back: its worker was asked to stop, which is not the job's fault and does not count."""
        with self._database.transaction() as connection:
            _give_back(connection, job_id, JobState.QUEUED, EventKind.RELEASED)

    def lower_plan(self, job_id: str, plan: str, why: str) -> None:
        """Memory ran out: give the running job back, to be taken up first and run with the smaller `plan`.

        The attempt does not count: what bounds the tries here is the number of plans.
        """
        with self._database.transaction() as connection:
            if _give_back(connection, job_id, JobState.INTERRUPTED, EventKind.PLAN_LOWERED, f"{plan}: {why}"):
                connection.execute(
                    "UPDATE jobs SET plan = ?, plan_steps_down = plan_steps_down + 1 WHERE id = ?", (plan, job_id)
                )

    # What a dead worker has left

    def recover(self) -> list[Job]:
        """Settle the jobs that a dead worker left running, and give them as they are now.

        For the holder of the worker lock only: then no running job has a living worker. Each is interrupted, unless it
        was to be cancelled or has killed MAX_ATTEMPTS workers: then it is quarantined and the queue goes on.
        """
        with self._database.transaction() as connection:
            rows = connection.execute("SELECT * FROM jobs WHERE state = 'running'").fetchall()
            for row in rows:
                _settle(connection, row)
        return [job for row in rows if (job := self.job(row["id"]))]

    def fail_waiting(self, error: str) -> None:
        """Fail every unfinished job: no worker can be started."""
        with self._database.transaction() as connection:
            clause = f"WHERE state IN {sql_list(UNFINISHED)}"
            for row in connection.execute(f"SELECT id FROM jobs {clause}").fetchall():  # noqa: S608 (our own words)
                _end(connection, row["id"], JobState.FAILED, UNFINISHED, error)

    def _accept(self, job_id: str, clip: Finished, kind: EventKind) -> None:
        with self._database.transaction() as connection:
            before = RUNNING if kind is EventKind.DONE else UNFINISHED
            if change(
                connection,
                job_id,
                before,
                state=JobState.DONE,
                finished_at=now(),
                error=None,
                clip=clip.clip.name,
                poster=clip.poster.name,
                frames_sha256=clip.frames_sha256,
                seconds=json.dumps(clip.seconds),
                warnings=json.dumps(clip.warnings),
            ):
                note(connection, job_id, kind, clip.clip.name)
                gallery.add(connection, _entry(connection, job_id, clip))


def _entry(connection: sqlite3.Connection, job_id: str, clip: Finished) -> Entry:
    """The row that the clip of a job gets in the gallery."""
    project = connection.execute("SELECT project FROM jobs WHERE id = ?", (job_id,)).fetchone()[0]
    return Entry(
        id=job_id,
        request=clip.request,
        clip=clip.clip.name,
        poster=clip.poster.name,
        made_at=now(),
        frames_sha256=clip.frames_sha256,
        seconds=sum(clip.seconds.values()),
        project=project,
    )


def _next(connection: sqlite3.Connection, loaded: str | None) -> sqlite3.Row | None:
    """The row to take up; the rule is in `claim`."""
    if get(connection, "paused", "0") == "1":
        return None
    row = _first(connection, "state = 'interrupted'")
    if row is None and get(connection, "stop_after_current", "0") == "1":
        put(connection, "paused", "1")
        put(connection, "stop_after_current", "0")
        return None
    return row or (loaded and _of_model(connection, loaded)) or _first(connection, "state = 'queued'")


def _of_model(connection: sqlite3.Connection, model: str) -> sqlite3.Row | None:
    """The first waiting job of a model, unless it would have to overtake one that must not be overtaken."""
    barrier = _first(connection, "state = 'queued' AND (moved OR overtaken >= ?)", MAX_OVERTAKEN)
    last = barrier["position"] if barrier else float("inf")
    return _first(connection, "state = 'queued' AND model = ? AND position <= ?", model, last)


def _first(connection: sqlite3.Connection, condition: str, *values: object) -> sqlite3.Row | None:
    statement = f"SELECT * FROM jobs WHERE {condition} ORDER BY position LIMIT 1"  # noqa: S608 (this file's words)
    row: sqlite3.Row | None = connection.execute(statement, values).fetchone()
    return row


def _start(connection: sqlite3.Connection, row: sqlite3.Row) -> None:
    connection.execute(
        "UPDATE jobs SET state = ?, stage = ?, started_at = ?, attempts = attempts + 1, resumed_from = 0, "
        "step = 0, total = 0, eta_seconds = NULL, preview_version = 0 WHERE number = ?",
        (JobState.RUNNING, Stage.LOADING, now(), row["number"]),
    )
    if row["state"] == JobState.QUEUED:
        connection.execute(
            "UPDATE jobs SET overtaken = overtaken + 1 WHERE state = 'queued' AND position < ?", (row["position"],)
        )
    put(connection, "starts", str(int(get(connection, "starts", "0")) + 1))
    note(connection, row["id"], EventKind.STARTED, f"attempt {row['attempts'] + 1}, process {os.getpid()}")


def _give_back(connection: sqlite3.Connection, job_id: str, state: JobState, kind: EventKind, detail: str = "") -> bool:
    given = change(connection, job_id, RUNNING, state=state, stage=Stage.QUEUED)
    if given:
        connection.execute("UPDATE jobs SET attempts = attempts - 1 WHERE id = ?", (job_id,))
        note(connection, job_id, kind, detail)
    return given


def _settle(connection: sqlite3.Connection, row: sqlite3.Row) -> None:
    if row["cancel_requested"]:
        _end(connection, row["id"], JobState.CANCELLED, RUNNING)
    elif row["attempts"] >= MAX_ATTEMPTS:
        error = (
            f"The worker process died {row['attempts']} times while making this clip, as it does when memory runs out; "
            f"try a smaller size or fewer frames, and see logs/jobs/{row['id']}.log in the workspace."
        )
        _end(connection, row["id"], JobState.QUARANTINED, RUNNING, error)
    else:
        change(connection, row["id"], RUNNING, state=JobState.INTERRUPTED, stage=Stage.QUEUED)
        note(connection, row["id"], EventKind.INTERRUPTED, f"its worker died in attempt {row['attempts']}")


def _end(
    connection: sqlite3.Connection,
    job_id: str,
    state: JobState,
    before: tuple[JobState, ...],
    error: str | None = None,
) -> None:
    """Move a job from a state of `before` to a final one without a clip; a job in another state is left alone."""
    if change(connection, job_id, before, state=state, finished_at=now(), error=error):
        note(connection, job_id, EventKind(state.value), error or "")
