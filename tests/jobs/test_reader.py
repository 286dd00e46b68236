"""The queue as it is read: rows that an older version wrote break neither list nor page."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.support.queues import OpenQueue
from tests.support.requests import make_request
from wan_pipeline.storage.database import Database

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
BAD_COLUMNS = [
    ("created_at", "0001-01-01T00:00:00+00:00"),
    ("created_at", "9999-12-31T23:59:59+00:00"),
    ("created_at", "noon"),
    ("started_at", "0001-01-01"),
    ("finished_at", "x"),
    ("seconds", '{"denoising": NaN}'),
    ("seconds", '{"denoising": 1e400}'),
    ("seconds", '{"denoising": 1e308}'),
    ("seconds", '{"denoising": "long"}'),
    ("seconds", "[1]"),
    ("seconds", ""),
    ("warnings", "[1]"),
    ("warnings", '"one"'),
    ("warnings", "[" * 100_000),
    ("warnings", '["\\ud800"]'),
]


@pytest.mark.parametrize(("column", "value"), BAD_COLUMNS, ids=lambda value: value[:30])
def test_a_bad_column_breaks_no_list(queue: OpenQueue, database: Path, column: str, value: str) -> None:
    bad, good = (queue.editor.submit(make_request(seed=seed)) for seed in range(2))
    with Database(database).transaction() as connection:
        connection.execute(f"UPDATE jobs SET {column} = ? WHERE id = ?", (value, bad))  # noqa: S608
    job, other = queue.jobs.jobs()
    assert (job.id, other.id) == (bad, good)
    assert (job.seconds, job.warnings) == ({}, ())
    for time in (job.created_at, job.started_at, job.finished_at):
        assert time is None or time.astimezone().year
    assert getattr(job, column) in (EPOCH, {}, ())
    json.dumps([job.seconds, job.warnings], ensure_ascii=False, allow_nan=False).encode()
    assert queue.worker.claim().id == bad


@pytest.mark.parametrize("value", ["", "[]", '{"count": "x"}', '{"count": NaN}', '{"pid": "x"}'])
def test_a_bad_heartbeat_is_none(queue: OpenQueue, database: Path, value: str) -> None:
    with Database(database).transaction() as connection:
        connection.execute("INSERT INTO queue (key, value) VALUES ('heartbeat', ?)", (value,))
    assert (queue.jobs.queue_state().beats, queue.jobs.queue_state().worker_pid) == (0, None)
    queue.worker.heartbeat(7)
    assert (queue.jobs.queue_state().beats, queue.jobs.queue_state().worker_pid) == (1, 7)


def test_an_event_without_a_time_is_listed(queue: OpenQueue, database: Path) -> None:
    job_id = queue.editor.submit(make_request())
    with Database(database).transaction() as connection:
        connection.execute("UPDATE events SET at = 'noon'")
    assert [event.at for event in queue.jobs.events(job_id)] == [EPOCH]
