"""What the views of the table of trainings share."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from wan_pipeline.jobs.table.rows import sql_list
from wan_pipeline.jobs.training.job import TrainingJob, TrainingResult, TrainingState
from wan_pipeline.storage.outside import OutsideDataError, parse, parse_json, stored_json, stored_time
from wan_pipeline.trainer.request import TrainingRequest

IN_ORDER = "CASE state WHEN 'training' THEN 0 WHEN 'paused' THEN 1 ELSE 2 END, number"
"""Order of work: what has started goes on before another starts."""


def stored_request(request: TrainingRequest) -> str:
    """JSON of a request. Whether it resumes is decided when it runs."""
    return json.dumps({**asdict(replace(request, resume=False)), "dataset": str(request.dataset)})


def read_request(text: str, name: str) -> tuple[TrainingRequest, str | None]:
    """The request, and if it cannot be read one of default values with the reason, a sentence."""
    try:
        return parse(TrainingRequest, parse_json(text)), None
    except OutsideDataError as error:
        reason = f"The settings of the training '{name}' cannot be read ({error}); remove it and queue it again."
        return TrainingRequest(Path(), name), reason


def read_job(row: sqlite3.Row) -> TrainingJob:
    request, request_error = read_request(row["request"], row["name"])
    return TrainingJob(
        id=row["id"],
        state=TrainingState(row["state"]),
        request=request,
        prompts=stored_json(tuple[str, ...], row["prompts"], ()),
        created_at=stored_time(row["created_at"]),
        started_at=stored_time(row["started_at"]) if row["started_at"] else None,
        finished_at=stored_time(row["finished_at"]) if row["finished_at"] else None,
        stage=row["stage"],
        step=row["step"],
        total=row["total"],
        eta_seconds=row["eta_seconds"],
        step_seconds=row["step_seconds"],
        memory_gib=row["memory_gib"],
        note=row["note"],
        cancel_requested=bool(row["cancel_requested"]),
        deaths=row["deaths"],
        error=row["error"],
        result=stored_json(TrainingResult | None, row["result"], None) if row["result"] else None,  # type: ignore[arg-type]  # a union of types
        warnings=stored_json(tuple[str, ...], row["warnings"], ()),
        request_error=request_error,
    )


def update(connection: sqlite3.Connection, training_id: str, states: Collection[TrainingState], **values: Any) -> bool:
    """Set columns of a training that is in one of `states`. Returns whether it was."""
    assignments = ", ".join(f"{name} = ?" for name in values)
    cursor = connection.execute(
        f"UPDATE trainings SET {assignments} WHERE id = ? AND state IN {sql_list(states)}",  # noqa: S608 (our own names)
        (*values.values(), training_id),
    )
    return cursor.rowcount > 0
