"""The trainings of a workspace as the process that trains sees them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from wan_pipeline.jobs.table.rows import now, sql_list
from wan_pipeline.jobs.training.job import UNFINISHED, Point, TrainingJob, TrainingResult, TrainingState
from wan_pipeline.jobs.training.rows import IN_ORDER, read_job, update
from wan_pipeline.storage.database import Database

MAX_DEATHS = 3
"""Processes that may die with a training, one after another, before it fails."""
RUNNING = (TrainingState.TRAINING,)


class TrainerQueue:
    """Every method raises StorageError when the database cannot be used."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def claim(self) -> TrainingJob | None:
        """Claim the training to work on; None when there is none. Only for the holder of the trainer's lock.

        One that another process left in the middle died with it: after MAX_DEATHS such it fails, as does one whose
        request cannot be read.
        """
        while (job := self._next()) is not None:
            died = job.state is TrainingState.TRAINING
            deaths = job.deaths + died
            if job.cancel_requested:
                self.mark_cancelled(job.id)
            elif job.request_error:
                self.fail(job.id, job.request_error)
            elif deaths >= MAX_DEATHS:
                self.fail(
                    job.id,
                    f"Its process died {deaths} times, as it does when memory runs out; train with a lower rank or on "
                    "shorter clips under another name, or go on with it. The reason may be in logs/training.log in the "
                    "workspace.",
                )
            elif self._start(job, deaths):
                return self._job(job.id)
        return None

    def progress(self, training_id: str, points: Sequence[Point], **columns: Any) -> None:
        """Set columns of the running training and add to its curves."""
        with self._database.transaction() as connection:
            connection.executemany(
                "INSERT INTO training_points (training, step, loss, rate, validation) VALUES (?, ?, ?, ?, ?) "
                "ON CONFLICT (training, step) DO UPDATE SET loss = coalesce(excluded.loss, loss), "
                "rate = coalesce(excluded.rate, rate), validation = coalesce(excluded.validation, validation)",
                [(training_id, point.step, point.loss, point.rate, point.validation) for point in points],
            )
            if columns:
                update(connection, training_id, RUNNING, **columns)

    def cancel_is_requested(self, training_id: str) -> bool:
        with self._database.connection() as connection:
            asked = "SELECT cancel_requested FROM trainings WHERE id = ?"
            row = connection.execute(asked, (training_id,)).fetchone()
        return row is None or bool(row["cancel_requested"])

    def pause(self, training_id: str) -> None:
        """The running training yields to the queue. One that is to be cancelled ends here."""
        if self.cancel_is_requested(training_id):
            self.mark_cancelled(training_id)
        else:
            self._set(training_id, RUNNING, state=TrainingState.PAUSED, stage="", eta_seconds=None, deaths=0)

    def record_warnings(self, training_id: str, warnings: Sequence[str]) -> None:
        """Of the running training; `finish` keeps those of one that is done."""
        self._set(training_id, RUNNING, warnings=json.dumps(list(warnings)))

    def record_result(self, training_id: str, result: TrainingResult, warnings: Sequence[str]) -> None:
        """The running training has written its LoRA; only samples are left to be made."""
        self._set(training_id, RUNNING, result=json.dumps(asdict(result)), warnings=json.dumps(list(warnings)))

    def finish(self, training_id: str, result: TrainingResult, warnings: Sequence[str]) -> None:
        self._end(
            training_id,
            TrainingState.DONE,
            step=result.steps,
            total=result.steps,
            result=json.dumps(asdict(result)),
            warnings=json.dumps(list(warnings)),
        )

    def fail(self, training_id: str, error: str) -> None:
        self._end(training_id, TrainingState.FAILED, error=error)

    def mark_cancelled(self, training_id: str) -> None:
        self._end(training_id, TrainingState.CANCELLED)

    def _end(self, training_id: str, state: TrainingState, **columns: Any) -> None:
        self._set(training_id, UNFINISHED, state=state, finished_at=now(), stage="", eta_seconds=None, **columns)

    def _start(self, job: TrainingJob, deaths: int) -> bool:
        """Whether it could be started: it may have been cancelled just now."""
        started = {} if job.started_at else {"started_at": now()}
        return self._set(job.id, UNFINISHED, state=TrainingState.TRAINING, stage="", deaths=deaths, **started)

    def _set(self, training_id: str, states: Sequence[TrainingState], **columns: Any) -> bool:
        with self._database.transaction() as connection:
            return update(connection, training_id, states, **columns)

    def _next(self) -> TrainingJob | None:
        return self._job_where(f"state IN {sql_list(UNFINISHED)} ORDER BY {IN_ORDER} LIMIT 1")

    def _job(self, training_id: str) -> TrainingJob | None:
        return self._job_where("id = ?", training_id)

    def _job_where(self, condition: str, *values: object) -> TrainingJob | None:
        with self._database.connection() as connection:
            row = connection.execute(f"SELECT * FROM trainings WHERE {condition}", values).fetchone()  # noqa: S608
        return read_job(row) if row else None
