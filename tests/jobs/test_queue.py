"""The job table: every change whole or not at all, between threads, processes and crashes."""

from __future__ import annotations

import multiprocessing
import shutil
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.support.faults.disks import read_only_disk, small_disk
from tests.support.queues import OpenQueue
from tests.support.requests import make_request
from wan_pipeline.errors import StorageError
from wan_pipeline.jobs.job import Finished, JobState
from wan_pipeline.planning.devices import Devices
from wan_pipeline.progress import Progress, Stage
from wan_pipeline.settings import REPOSITORY
from wan_pipeline.storage import schema


def finished(database: Path, **changes: object) -> Finished:
    clip = database.parent / "clips" / "a.mp4"
    values = {
        "request": make_request(),
        "clip": clip,
        "poster": clip.with_suffix(".webp"),
        "receipt": clip.with_suffix(".json"),
        "frames_sha256": "ab" * 32,
        "seconds": {"denoising": 2.5},
        "warnings": ("two keys were left out",),
    }
    return Finished(**values | changes)


def states(queue: OpenQueue) -> list[JobState]:
    return [job.state for job in reversed(queue.jobs.recent(100))]


def test_a_job_from_submit_to_done(queue: OpenQueue, database: Path) -> None:
    request = make_request(prompt="红球 <b>'; DROP TABLE jobs; --")
    job_id = queue.editor.submit(request)
    job = queue.jobs.job(job_id)
    assert job is not None
    assert (job.state, job.stage, job.request, job.attempts) == (JobState.QUEUED, Stage.QUEUED, request, 0)
    assert abs((datetime.now(UTC) - job.created_at).total_seconds()) < 60
    assert (job.started_at, job.finished_at, job.clip, job.error) == (None, None, None, None)

    claimed = queue.worker.claim()
    assert claimed is not None
    assert (claimed.id, claimed.state, claimed.stage, claimed.attempts) == (job_id, "running", Stage.LOADING, 1)
    queue.worker.progress(job_id, Progress(Stage.DENOISING, 3, 16, 4.5))
    job = queue.jobs.job(job_id)
    assert (job.stage, job.step, job.total, job.eta_seconds) == (Stage.DENOISING, 3, 16, 4.5)

    queue.worker.finish(job_id, finished(database, devices=Devices(split=2)))
    job = queue.jobs.job(job_id)
    assert (job.devices.branches, job.devices.split) == (1, 2)
    assert (job.state, job.is_active, job.frames_sha256) == (JobState.DONE, False, "ab" * 32)
    assert job.clip == database.parent / "clips" / "a.mp4"
    assert job.poster == database.parent / "clips" / "a.webp"
    assert (job.seconds, job.warnings) == ({"denoising": 2.5}, ("two keys were left out",))
    assert job.created_at <= job.started_at <= job.finished_at


def test_the_workspace_may_move(queue: OpenQueue, database: Path, tmp_path: Path) -> None:
    queue.editor.submit(make_request())
    queue.worker.finish(queue.worker.claim().id, finished(database))
    database.parent.rename(tmp_path / "moved")
    assert (
        OpenQueue(tmp_path / "moved" / "studio.sqlite3").jobs.recent(1)[0].clip
        == tmp_path / "moved" / "clips" / "a.mp4"
    )


def test_first_come_first_served(queue: OpenQueue) -> None:
    ids = [queue.editor.submit(make_request(seed=seed)) for seed in range(4)]
    assert [queue.jobs.job(job_id).jobs_ahead for job_id in ids] == [0, 1, 2, 3]
    assert queue.worker.claim().id == ids[0]
    assert [job.id for job in queue.jobs.active()] == ids
    assert [job.jobs_ahead for job in queue.jobs.active()] == [0, 1, 2, 3]
    queue.worker.fail(ids[0], "no")
    assert [job.jobs_ahead for job in queue.jobs.active()] == [0, 1, 2]
    assert [job.id for job in queue.jobs.recent(3)] == ids[:0:-1]


def test_nothing_to_claim_or_find(queue: OpenQueue) -> None:
    assert queue.worker.claim() is None
    assert queue.jobs.job("nobody") is None
    assert (queue.jobs.recent(5), queue.jobs.active(), queue.worker.recover()) == ([], [], [])
    queue.editor.cancel("nobody")


def test_cancel_a_waiting_job(queue: OpenQueue) -> None:
    job_id = queue.editor.submit(make_request())
    queue.editor.cancel(job_id)
    assert states(queue) == [JobState.CANCELLED]
    assert queue.worker.claim() is None


def test_cancel_a_running_job(queue: OpenQueue) -> None:
    job_id = queue.editor.submit(make_request())
    queue.worker.claim()
    assert not queue.worker.stop_requests(job_id).cancel
    queue.editor.cancel(job_id)
    assert queue.worker.stop_requests(job_id).cancel
    assert states(queue) == [JobState.RUNNING]
    queue.worker.mark_cancelled(job_id)
    assert states(queue) == [JobState.CANCELLED]


def test_what_is_finished_stays_finished(queue: OpenQueue, database: Path) -> None:
    job_id = queue.editor.submit(make_request())
    queue.worker.claim()
    queue.worker.finish(job_id, finished(database))
    before = queue.jobs.job(job_id)
    queue.editor.cancel(job_id)
    queue.worker.mark_cancelled(job_id)
    queue.worker.fail(job_id, "late")
    queue.worker.release(job_id)
    queue.worker.progress(job_id, Progress(Stage.LOADING))
    assert queue.worker.recover() == []
    assert queue.jobs.job(job_id) == before


def test_a_dead_workers_job_gets_one_more_try(queue: OpenQueue) -> None:
    first, second = queue.editor.submit(make_request()), queue.editor.submit(make_request())
    queue.worker.claim()
    assert [(job.id, job.state, job.attempts) for job in queue.worker.recover()] == [(first, JobState.INTERRUPTED, 1)]
    assert queue.worker.claim().id == first  # its turn has not passed
    (job,) = queue.worker.recover()
    assert (job.state, job.attempts) == (JobState.QUARANTINED, 2)
    assert "died 2 times" in job.error
    assert "smaller size" in job.error
    assert queue.worker.claim().id == second


def test_a_dead_workers_cancelled_job_is_cancelled(queue: OpenQueue) -> None:
    job_id = queue.editor.submit(make_request())
    queue.worker.claim()
    queue.editor.cancel(job_id)
    assert [job.state for job in queue.worker.recover()] == [JobState.CANCELLED]


def test_a_released_job_waits_as_if_never_tried(queue: OpenQueue) -> None:
    job_id = queue.editor.submit(make_request())
    queue.worker.claim()
    queue.worker.release(job_id)
    assert (queue.jobs.job(job_id).state, queue.jobs.job(job_id).attempts) == (JobState.QUEUED, 0)


def test_finished_jobs_of_a_model(queue: OpenQueue, database: Path) -> None:
    for model in ("demo", "other", "demo"):
        queue.editor.submit(make_request(model=model))
    for _ in range(3):
        queue.worker.finish(queue.worker.claim().id, finished(database))
    assert [job.request.model for job in queue.jobs.finished("demo", 10)] == ["demo", "demo"]
    assert len(queue.jobs.finished("demo", 1)) == 1


def test_threads_claim_each_job_once(queue: OpenQueue) -> None:
    with ThreadPoolExecutor(8) as pool:
        submitted = list(pool.map(lambda seed: queue.editor.submit(make_request(seed=seed)), range(40)))
        claimed = [job.id for job in pool.map(lambda _: queue.worker.claim(), range(48)) if job]
    assert sorted(claimed) == sorted(submitted)


def claim_all(database: Path) -> list[str]:
    queue, claimed = OpenQueue(database), []
    while job := queue.worker.claim():
        claimed.append(job.id)
    return claimed


def test_processes_claim_each_job_once(queue: OpenQueue, database: Path) -> None:
    submitted = [queue.editor.submit(make_request(seed=seed)) for seed in range(30)]
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        claimed = [job_id for ids in pool.map(claim_all, [database] * 3) for job_id in ids]
    assert sorted(claimed) == sorted(submitted)


def test_processes_may_create_the_database_together(database: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        assert pool.map(claim_all, [database] * 6) == [[]] * 6


SUBMIT_FOREVER = """
import sys
from pathlib import Path
from tests.support.requests import make_request
from tests.support.queues import OpenQueue
queue = OpenQueue(Path(sys.argv[1]))
for seed in range(10**6):
    print(queue.editor.submit(make_request(seed=seed)), flush=True)
"""


def test_what_was_submitted_survives_kill_9(queue: OpenQueue, database: Path) -> None:
    """A job id that was given out is on the disk, however the process ends; the file stays sound."""
    told: list[str] = []
    for count in (1, 7, 20):
        command = [sys.executable, "-c", SUBMIT_FOREVER, str(database)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY) as process:
            told += [process.stdout.readline().strip() for _ in range(count)]
            process.kill()
            told += process.stdout.read().splitlines()
    whole = [job_id for job_id in told if len(job_id) == 32]
    assert len(whole) >= 28
    assert all(queue.jobs.job(job_id) for job_id in whole)
    with sqlite3.connect(database) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)


def test_a_migration_that_another_process_has_just_made_is_not_made_again(queue: OpenQueue, database: Path) -> None:
    with sqlite3.connect(database, isolation_level=None) as connection:
        schema._apply(connection, 0)  # it found version 0 and then had to wait for the lock
        assert connection.execute("PRAGMA user_version").fetchone() == (len(schema.MIGRATIONS),)


def test_a_newer_database_is_left_alone(queue: OpenQueue, database: Path) -> None:
    with sqlite3.connect(database) as connection:
        connection.execute(f"PRAGMA user_version = {len(schema.MIGRATIONS) + 1}")
    before = database.read_bytes()
    with pytest.raises(StorageError, match="made by a newer Wan Studio"):
        OpenQueue(database)
    assert database.read_bytes() == before


def test_a_failed_migration_changes_nothing(database: Path) -> None:
    """A table is already there in another shape: the second migration cannot create it."""
    database.parent.mkdir()
    with sqlite3.connect(database) as connection:
        connection.executescript(schema.MIGRATIONS[0])
        connection.execute("CREATE TABLE events (number INTEGER)")
        connection.execute("PRAGMA user_version = 1")
        before = connection.execute("SELECT sql FROM sqlite_master").fetchall()
    with pytest.raises(StorageError, match="already exists"):
        OpenQueue(database)
    with sqlite3.connect(database) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)
        assert connection.execute("SELECT sql FROM sqlite_master").fetchall() == before


@pytest.mark.parametrize(
    "content",
    [b"not a database, but long enough to be looked at" * 100, b"SQLite format 3\0" * 90],
    ids=["text", "head"],
)
def test_a_damaged_file_is_named(content: bytes, database: Path) -> None:
    database.parent.mkdir()
    database.write_bytes(content)
    with pytest.raises(StorageError, match=r"studio\.sqlite3 is damaged"):
        OpenQueue(database)


def test_a_full_disk_is_named_and_passes(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "256k") as disk:
        queue = OpenQueue(disk / "studio.sqlite3")
        job_id = queue.editor.submit(make_request())
        (disk / "ballast").write_bytes(bytes(max(shutil.disk_usage(disk).free - 24 * 1024, 0)))
        with pytest.raises(StorageError, match="is full; free some space"):
            for _ in range(100):
                queue.editor.submit(make_request(prompt="p" * 4000))
        (disk / "ballast").unlink()
        queue.editor.submit(make_request())
        assert queue.worker.claim().id == job_id


def test_a_read_only_disk_is_named(tmp_path: Path) -> None:
    with read_only_disk(tmp_path / "disk") as disk, pytest.raises(StorageError, match="folder is writable"):
        OpenQueue(disk / "studio.sqlite3")
