"""What is asked of running jobs is read for all of them at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.queues import OpenQueue
from tests.support.requests import make_request
from wan_pipeline.cluster import queue as module
from wan_pipeline.cluster.queue import SharedQueue
from wan_pipeline.jobs.table.worker_queue import StopRequests
from wan_pipeline.storage.database import Database

GOES_ON, CANCELLED = StopRequests(cancel=False, pause=False), StopRequests(cancel=True, pause=False)


@pytest.mark.parametrize(("interval", "seen"), [(0.0, CANCELLED), (3600.0, GOES_ON)])
def test_it_is_read_once_an_interval(
    queue: OpenQueue, database: Path, monkeypatch: pytest.MonkeyPatch, interval: float, seen: StopRequests
) -> None:
    monkeypatch.setattr(module, "INTERVAL_SECONDS", interval)
    shared = SharedQueue(Database(database), queue.jobs, 7)
    ids = [queue.editor.submit(make_request(seed=seed)) for seed in range(3)]
    assert all(shared.claim() for _ in ids)
    queue.editor.cancel(ids[0])
    assert [shared.stop_requests(job_id) for job_id in ids] == [CANCELLED, GOES_ON, GOES_ON]
    queue.editor.cancel(ids[1])
    assert [shared.stop_requests(job_id) for job_id in ids] == [CANCELLED, seen, GOES_ON]
