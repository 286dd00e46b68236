"""The queue as it is read: jobs, their events, previews and logs. Nothing here changes a row."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection
from datetime import datetime

from wan_pipeline.clips.receipt import Seconds
from wan_pipeline.errors import UserError
from wan_pipeline.jobs.job import (
    FINISHED,
    PROBLEMS,
    RUNNING,
    UNFINISHED,
    WAITING,
    Event,
    EventKind,
    Job,
    JobState,
    QueueState,
)
from wan_pipeline.jobs.log import JobLogs
from wan_pipeline.jobs.table.rows import (
    ORDER_OF_WORK,
    QueueKey,
    get_setting,
    key_of_slot,
    read_heartbeat,
    read_no_room,
    read_post_processing,
    read_ready_worker,
    read_worker_starts,
    sql_list,
)
from wan_pipeline.planning.devices import Devices
from wan_pipeline.progress import Stage
from wan_pipeline.requests.stored import read_request
from wan_pipeline.settings import Settings
from wan_pipeline.storage.database import Database
from wan_pipeline.storage.outside import stored_json, stored_time

_LIST_ORDER = (
    f"state != 'running', state != 'interrupted', state IN {sql_list(FINISHED)}, "
    f"CASE WHEN state IN {sql_list(FINISHED)} THEN -jobs.number ELSE position END"
)
_SELECT = f"""
    WITH line AS MATERIALIZED (
        SELECT number, row_number() OVER (ORDER BY {ORDER_OF_WORK}) - 1 AS ahead
        FROM jobs WHERE state IN {sql_list(UNFINISHED)}
    )
    SELECT jobs.*, CASE WHEN state IN {sql_list(WAITING)} THEN line.ahead ELSE 0 END AS jobs_ahead
    FROM jobs LEFT JOIN line USING (number)
"""  # noqa: S608 (this file's own constants)


class JobReader:
    """Jobs of one workspace. Every method that asks the database raises StorageError when it cannot be used."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings
        self._logs = JobLogs(settings.job_logs)

    # One job

    def job(self, job_id: str) -> Job | None:
        jobs = self._jobs("WHERE id = ?", job_id)
        return jobs[0] if jobs else None

    def existing(self, job_id: str) -> Job:
        """Raises UserError if there is no such job."""
        job = self.job(job_id)
        if job is None:
            raise UserError(f"There is no job {job_id[:8]} in {self._settings.workspace}; choose one from the list.")
        return job

    def find(self, prefix: str) -> str:
        """The id that begins with `prefix`. Raises UserError unless exactly one job's does."""
        with self._database.connection() as connection:
            rows = connection.execute(
                "SELECT id FROM jobs WHERE substr(id, 1, length(?1)) = ?1 AND cleared = 0 LIMIT 2", (prefix.strip(),)
            ).fetchall()
        if len(rows) != 1 or not prefix.strip():
            found = "More than one job's id begins" if rows else "No job's id begins"
            raise UserError(f"{found} with '{prefix[:40]}'; take one from the list, or more of its characters.")
        return str(rows[0]["id"])

    def events(self, job_id: str) -> list[Event]:
        """A job's history, oldest first."""
        with self._database.connection() as connection:
            rows = connection.execute("SELECT * FROM events WHERE job_id = ? ORDER BY id", (job_id,)).fetchall()
        return [Event(row["id"], stored_time(row["at"]), EventKind(row["kind"]), row["detail"]) for row in rows]

    def preview(self, job_id: str) -> bytes | None:
        """The running job's preview, an animated WebP. Bytes and no path: the worker replaces the file all the time."""
        try:
            return (self._settings.previews / f"{job_id}.webp").read_bytes()
        except OSError:  # none yet, or on Windows while it is being replaced
            return None

    def log_excerpt(self, job_id: str) -> str:
        """The end of the job's log; empty if it has none."""
        return self._logs.excerpt(job_id)

    # Many jobs

    def jobs(
        self,
        states: Collection[JobState] | None = None,
        offset: int = 0,
        limit: int = 50,
        project: str | None = None,
    ) -> list[Job]:
        """A page of the list: running, interrupted, waiting and held in order of work, then finished, newest first.

        `states` and `project` None mean all; project "" those without one. Cleared jobs are left out.
        """
        chosen = sql_list(states if states is not None else tuple(JobState))
        page = (
            f"SELECT number FROM jobs WHERE cleared = 0 AND state IN {chosen} AND (?1 IS NULL OR project = ?1) "  # noqa: S608
            f"ORDER BY {_LIST_ORDER} LIMIT ?2 OFFSET ?3"
        )
        return self._jobs(f"WHERE jobs.number IN ({page}) ORDER BY {_LIST_ORDER}", project, limit, offset)

    def recent(self, limit: int = 24) -> list[Job]:
        """The newest jobs in any state, newest first."""
        return self._jobs("WHERE cleared = 0 ORDER BY number DESC LIMIT ?", limit)

    def made(self, limit: int) -> list[Job]:
        """The newest jobs that run or have ended, newest first, without those cancelled and clips in the bin."""
        is_chosen = f"cleared = 0 AND state IN {sql_list((*RUNNING, JobState.DONE, *PROBLEMS))}"
        is_binned = "EXISTS (SELECT 1 FROM clips WHERE clips.id = jobs.id AND binned_at IS NOT NULL)"
        return self._jobs(f"WHERE {is_chosen} AND NOT {is_binned} ORDER BY number DESC LIMIT ?", limit)

    def active(self) -> list[Job]:
        """Running and waiting jobs in order of work."""
        return self._jobs(f"WHERE state IN {sql_list(UNFINISHED)} ORDER BY {ORDER_OF_WORK}")

    def waiting(self, limit: int) -> list[Job]:
        """The next jobs in order of work, before `claim` groups them by model."""
        return self._jobs(f"WHERE state IN {sql_list(WAITING)} ORDER BY {ORDER_OF_WORK} LIMIT ?", limit)

    def finished(self, model_id: str, limit: int) -> list[Job]:
        """The newest finished jobs of a model, cleared ones too: time estimates learn from them."""
        return self._jobs("WHERE state = 'done' AND model = ? ORDER BY number DESC LIMIT ?", model_id, limit)

    def of_maker(self, made_by: str, limit: int) -> list[Job]:
        """The newest jobs of a guest, by the id of their key, newest first; cleared ones too."""
        return self._jobs("WHERE made_by = ? ORDER BY number DESC LIMIT ?", made_by, limit)

    def of_ids(self, job_ids: Collection[str]) -> list[Job]:
        """The jobs of these ids that there are, in no order."""
        return self._jobs("WHERE id IN (SELECT value FROM json_each(?))", json.dumps(sorted(job_ids)))

    def count_started(self, made_by: str) -> int:
        """How many clips a guest has had or will have: all but those that were cancelled before they began."""
        counted = "SELECT count(*) FROM jobs WHERE made_by = ? AND (state != 'cancelled' OR started_at IS NOT NULL)"
        with self._database.connection() as connection:
            return int(connection.execute(counted, (made_by,)).fetchone()[0])

    def newest_of_project(self, project: str) -> Job | None:
        """The newest listed job of a project."""
        newest = "SELECT max(number) FROM jobs WHERE cleared = 0 AND project = ?"
        jobs = self._jobs(f"WHERE jobs.number = ({newest})", project)
        return jobs[0] if jobs else None

    def projects(self) -> dict[str, int]:
        """How many listed jobs each project has; "" for those without one."""
        counted = "SELECT project, count(*) FROM jobs WHERE cleared = 0 GROUP BY project"
        with self._database.connection() as connection:
            return dict(connection.execute(counted).fetchall())

    def stored_requests(self) -> list[str]:
        """The requests of all jobs and of all clips, as they are stored, also those that cannot be read here."""
        with self._database.connection() as connection:
            rows = connection.execute("SELECT request FROM jobs UNION SELECT request FROM clips").fetchall()
        return [row["request"] for row in rows]

    def counts(self, project: str | None = None) -> dict[JobState, int]:
        """Listed jobs in each state, zeros included; those of a project, if it is given."""
        counted = "SELECT state, count(*) FROM jobs WHERE cleared = 0 AND (?1 IS NULL OR project = ?1) GROUP BY state"
        with self._database.connection() as connection:
            rows = connection.execute(counted, (project,)).fetchall()
        return dict.fromkeys(JobState, 0) | {JobState(state): count for state, count in rows}

    def running(self, slot: int) -> list[str]:
        """Ids of the jobs that the worker of this slot makes, or left."""
        with self._database.connection() as connection:
            rows = connection.execute("SELECT id FROM jobs WHERE state = 'running' AND slot = ?", (slot,)).fetchall()
        return [row["id"] for row in rows]

    def running_slots(self) -> set[int]:
        """Slots whose workers make a clip, or left one."""
        with self._database.connection() as connection:
            rows = connection.execute("SELECT DISTINCT slot FROM jobs WHERE state = 'running'").fetchall()
        return {row["slot"] for row in rows}

    def unfinished(self) -> int:
        """How many jobs run or wait."""
        counts = self.counts()
        return sum(counts[state] for state in UNFINISHED)

    def will_render(self) -> bool:
        """Whether a clip is rendered, or will be at once."""
        if self.queue_state().paused:
            return self.counts()[JobState.RUNNING] > 0
        return self.unfinished() > 0

    def has_work(self) -> bool:
        """As `will_render`, and also whether the queue only waits until a disk has room."""
        state, counts = self.queue_state(), self.counts()
        goes_on = not state.paused or state.no_room is not None
        return counts[JobState.RUNNING] > 0 or (goes_on and any(counts[waiting] for waiting in UNFINISHED))

    # The queue as a whole

    def queue_state(self, slot: int = 0) -> QueueState:
        """As the worker of this slot left it."""
        with self._database.connection() as connection:
            values = dict(connection.execute("SELECT key, value FROM queue").fetchall())
        beat = read_heartbeat(values.get(key_of_slot(QueueKey.HEARTBEAT, slot), "{}"))
        ready = read_ready_worker(values.get(key_of_slot(QueueKey.READY_WORKER, slot), "{}"))
        is_ready = ready.pid is not None and ready.pid == beat.pid
        return QueueState(
            paused=values.get(QueueKey.PAUSED) == "1",
            stops_after_current=values.get(QueueKey.STOP_AFTER_CURRENT) == "1",
            no_room=read_no_room(values.get(QueueKey.NO_ROOM, "")),
            pauses_now=values.get(QueueKey.PAUSE_NOW) == "1",
            beats=beat.count,
            worker_pid=beat.pid,
            is_ready=is_ready,
            loaded=ready.loaded if is_ready else None,
            worker_starts=read_worker_starts(values.get(QueueKey.WORKER_STARTS, "[]")),
        )

    def starts(self, slot: int = 0) -> int:
        """How many times a worker of this slot has claimed a job. It never shrinks."""
        with self._database.connection() as connection:
            return int(get_setting(connection, QueueKey.STARTS, "0", slot))

    def _jobs(self, clause: str, *values: object) -> list[Job]:
        with self._database.connection() as connection:
            return [self._job(row) for row in connection.execute(f"{_SELECT} {clause}", values)]

    def _job(self, row: sqlite3.Row) -> Job:
        request, request_error = read_request(row["request"])
        clips = self._settings.clips
        return Job(
            id=row["id"],
            state=JobState(row["state"]),
            request=request,
            created_at=stored_time(row["created_at"]),
            started_at=_time(row["started_at"]),
            finished_at=_time(row["finished_at"]),
            stage=Stage(row["stage"]),
            step=row["step"],
            total=row["total"],
            eta_seconds=row["eta_seconds"],
            cancel_requested=bool(row["cancel_requested"]),
            attempts=row["attempts"],
            error=row["error"],
            clip=clips / row["clip"] if row["clip"] else None,
            poster=clips / row["poster"] if row["poster"] else None,
            frames_sha256=row["frames_sha256"],
            seconds=stored_json(dict[str, Seconds], row["seconds"], {}),
            warnings=stored_json(tuple[str, ...], row["warnings"], ()),
            jobs_ahead=row["jobs_ahead"],
            project=row["project"],
            made_by=row["made_by"],
            note=row["note"],
            deterministic=bool(row["deterministic"]),
            clip_name=row["clip_name"],
            output=row["output"],
            plan=row["plan"],
            devices=Devices(row["branches"], row["split"]),
            slot=row["slot"],
            plan_steps_down=row["plan_steps_down"],
            post_processing=read_post_processing(row["post_processing"]),
            resumed_from=row["resumed_from"],
            request_error=request_error,
        )


def _time(text: str | None) -> datetime | None:
    return stored_time(text) if text else None
