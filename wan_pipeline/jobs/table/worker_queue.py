"""The queue as a worker changes it: claim, progress, every way a job ends, and recovery after a crash.

All of it is for the holder of a worker lock: there is one for each GPU that makes clips.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import asdict, dataclass

from wan_pipeline.clips.gallery import rows as gallery_rows
from wan_pipeline.jobs.disk_space import NoRoom
from wan_pipeline.jobs.job import RUNNING, UNFINISHED, EventKind, Finished, Job, JobState, has_lost_steps
from wan_pipeline.jobs.table.claiming import next_row, start_row
from wan_pipeline.jobs.table.endings import end_without_clip, entry_of, give_back, queue_post_processing, settle
from wan_pipeline.jobs.table.reader import JobReader
from wan_pipeline.jobs.table.rows import (
    QueueKey,
    ReadyWorker,
    get_setting,
    now,
    read_heartbeat,
    read_worker_starts,
    record_event,
    set_setting,
    sql_list,
    update_job,
)
from wan_pipeline.progress import Progress
from wan_pipeline.requests.stored import read_request
from wan_pipeline.storage.database import Database
from wan_pipeline.storage.locks import CLUSTER_SLOT

CLUSTER_ENDED = "The `cluster` command ended before it could say how the clip did."
KEPT_STARTS = 5
"""Newest starts of workers that estimates learn from."""


@dataclass(frozen=True)
class StopRequests:
    """Why a running job is to stop."""

    cancel: bool
    pause: bool
    """Whether to put it back: the queue was paused at once."""


class WorkerQueue:
    """A worker's view of one workspace's queue. Every method raises StorageError when the database cannot be used."""

    def __init__(self, database: Database, jobs: JobReader, slot: int = 0) -> None:
        """`slot` is the worker's, of several in one workspace."""
        self._database = database
        self._jobs = jobs
        self._slot = slot

    def claim(
        self, loaded: str | None = None, models: Collection[str] | None = None, *, deterministic: bool = False
    ) -> Job | None:
        """Claim the next job, of those for these `models` if they are given. None if none waits or the queue is paused.

        Interrupted jobs come first, then the rest by position. While the model `loaded` is in memory, its jobs, those
        that are `deterministic` or those that are not, go before others, but never before one that was moved by hand,
        and past any one job at most `claiming.MAX_OVERTAKEN` times, so every job gets its turn. A job whose request
        cannot be read fails here. After `stop_after_current` only an interrupted job is still claimed; then the queue
        is paused.
        """
        with self._database.transaction() as connection:
            while (row := next_row(connection, loaded, models, is_deterministic=deterministic)) is not None:
                _, error = read_request(row["request"])
                if error is None:
                    start_row(connection, row, self._slot)
                    break
                end_without_clip(connection, row["id"], JobState.FAILED, (JobState(row["state"]),), error)
        return self._jobs.job(row["id"]) if row else None

    def heartbeat(self, pid: int) -> None:
        """Record that the worker lives."""
        with self._database.transaction() as connection:
            count = read_heartbeat(get_setting(connection, QueueKey.HEARTBEAT, "{}", self._slot)).count + 1
            set_setting(connection, QueueKey.HEARTBEAT, json.dumps({"count": count, "pid": pid}), self._slot)

    def set_ready(self, pid: int, seconds: float) -> None:
        """Record that the worker's engine is ready, `seconds` after its process was launched."""
        with self._database.transaction() as connection:
            starts = read_worker_starts(get_setting(connection, QueueKey.WORKER_STARTS, "[]"))
            set_setting(connection, QueueKey.WORKER_STARTS, json.dumps([*starts, round(seconds, 3)][-KEPT_STARTS:]))
            set_setting(connection, QueueKey.READY_WORKER, json.dumps(asdict(ReadyWorker(pid))), self._slot)

    def set_loaded(self, pid: int, model_id: str) -> None:
        """Record the model that the worker holds."""
        with self._database.transaction() as connection:
            ready = ReadyWorker(pid, model_id)
            set_setting(connection, QueueKey.READY_WORKER, json.dumps(asdict(ready)), self._slot)

    def progress(self, job_id: str, progress: Progress) -> None:
        with self._database.transaction() as connection:
            update_job(
                connection,
                job_id,
                RUNNING,
                stage=progress.stage,
                step=progress.step,
                total=progress.total,
                eta_seconds=progress.eta_seconds,
            )

    def stop_requests(self, job_id: str) -> StopRequests:
        """What was asked of the running job."""
        with self._database.connection() as connection:
            row = connection.execute("SELECT cancel_requested FROM jobs WHERE id = ?", (job_id,)).fetchone()
            pauses_now = get_setting(connection, QueueKey.PAUSE_NOW, "0") == "1"
        return StopRequests(bool(row and row["cancel_requested"]), pauses_now)

    def record_resumed(self, job_id: str, step: int) -> None:
        """The running job goes on from a checkpoint after `step` denoising steps."""
        with self._database.transaction() as connection:
            if update_job(connection, job_id, RUNNING, resumed_from=step):
                record_event(connection, job_id, EventKind.RESUMED, f"from step {step}")

    def has_lost_steps(self, job_id: str) -> bool:
        """Whether the job was put back after denoising began, so that without a checkpoint it begins anew."""
        return has_lost_steps(self._jobs.events(job_id))

    def record_event(self, job_id: str, kind: EventKind, detail: str) -> None:
        """Add to a job's history without changing the job."""
        with self._database.transaction() as connection:
            record_event(connection, job_id, kind, detail)

    # How a job ends

    def finish(self, job_id: str, clip: Finished) -> None:
        """The running job is done and its clip is in the gallery. Only file names are stored: a workspace can move."""
        self._accept(job_id, clip, RUNNING, EventKind.DONE)

    def adopt(self, job_id: str, clip: Finished) -> None:
        """The clip of an unfinished job was found whole on the disk: the job is done and is not rendered again."""
        self._accept(job_id, clip, UNFINISHED, EventKind.ADOPTED)

    def fail(self, job_id: str, error: str) -> None:
        with self._database.transaction() as connection:
            end_without_clip(connection, job_id, JobState.FAILED, RUNNING, error)

    def mark_cancelled(self, job_id: str) -> None:
        with self._database.transaction() as connection:
            end_without_clip(connection, job_id, JobState.CANCELLED, RUNNING)

    # A running job goes back into the queue, unless it is to be cancelled: then it ends here

    def release(self, job_id: str) -> bool:
        """Put a running job back because its worker was asked to stop, or the queue was paused at once.

        The attempt does not count. Returns whether the job went back.
        """
        with self._database.transaction() as connection:
            return give_back(connection, job_id, JobState.QUEUED, EventKind.RELEASED)

    def lower_plan(self, job_id: str, plan: str, why: str) -> bool:
        """Put a running job back after it ran out of memory, to be claimed first and with the smaller `plan`.

        The attempt does not count: the number of smaller plans bounds the tries. Returns whether it went back.
        """
        with self._database.transaction() as connection:
            if not give_back(connection, job_id, JobState.INTERRUPTED, EventKind.PLAN_LOWERED, f"{plan}: {why}"):
                return False
            connection.execute(
                "UPDATE jobs SET plan = ?, plan_steps_down = plan_steps_down + 1 WHERE id = ?", (plan, job_id)
            )
            return True

    def wait_for_room(self, job_id: str, no_room: NoRoom) -> bool:
        """Put a running job back because a disk is full, and pause the queue until there is room.

        The attempt does not count. A queue that the person has paused stays so. Returns whether the job went back.
        """
        with self._database.transaction() as connection:
            if not give_back(connection, job_id, JobState.QUEUED, EventKind.RELEASED, no_room.reason):
                return False
            is_paused = get_setting(connection, QueueKey.PAUSED, "0") == "1"
            if not is_paused or get_setting(connection, QueueKey.NO_ROOM, ""):
                set_setting(connection, QueueKey.PAUSED, "1")
                set_setting(connection, QueueKey.NO_ROOM, json.dumps(asdict(no_room)))
            return True

    def end_wait_for_room(self) -> None:
        """Go on if the queue still waits for room."""
        with self._database.transaction() as connection:
            if get_setting(connection, QueueKey.NO_ROOM, ""):
                set_setting(connection, QueueKey.PAUSED, "0")
                set_setting(connection, QueueKey.NO_ROOM, "")

    # After a crash

    def recover(self, slots: Collection[int] = (0,), job_id: str | None = None, reason: str = "") -> list[Job]:
        """Settle the jobs that the workers of these slots, all dead, left running; return them as they are now.

        With `job_id` that one alone, whose node was lost for the `reason`, a sentence.

        Each becomes interrupted, unless it was to be cancelled, or MAX_ATTEMPTS workers have died with it: then it is
        quarantined and the queue goes on.
        """
        with self._database.transaction() as connection:
            running = connection.execute("SELECT * FROM jobs WHERE state = 'running'").fetchall()
            rows = [row for row in running if row["slot"] in slots and job_id in (None, row["id"])]
            for row in rows:
                settle(connection, row, reason or (CLUSTER_ENDED if row["slot"] == CLUSTER_SLOT else ""))
        return [job for row in rows if (job := self._jobs.job(row["id"]))]

    def fail_unfinished(self, error: str) -> None:
        """Fail every running and waiting job: no worker can be started."""
        with self._database.transaction() as connection:
            clause = f"WHERE state IN {sql_list(UNFINISHED)}"
            for row in connection.execute(f"SELECT id FROM jobs {clause}").fetchall():  # noqa: S608 (enum values)
                end_without_clip(connection, row["id"], JobState.FAILED, UNFINISHED, error)

    def _accept(self, job_id: str, clip: Finished, states: tuple[JobState, ...], kind: EventKind) -> None:
        with self._database.transaction() as connection:
            entry, folder = entry_of(connection, job_id, clip)
            if update_job(
                connection,
                job_id,
                states,
                state=JobState.DONE,
                finished_at=now(),
                error=None,
                clip=entry.clip,
                poster=entry.poster,
                frames_sha256=clip.frames_sha256,
                seconds=json.dumps(clip.seconds),
                warnings=json.dumps(clip.warnings),
                branches=clip.devices.branches,
                split=clip.devices.split,
            ):
                record_event(connection, job_id, kind, entry.clip)
                gallery_rows.add(connection, entry, folder)
                queue_post_processing(connection, job_id)
