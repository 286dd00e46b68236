"""The database file: migrated from older versions, and its errors in plain words."""

from __future__ import annotations

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
from wan_pipeline.jobs.job import JobState
from wan_pipeline.storage import database as room
from wan_pipeline.storage import schema as database_schema
from wan_pipeline.storage.backups import Backups, damage, repair_if_corrupt
from wan_pipeline.storage.database import Database


def write_version_1(database: Path) -> None:
    """As the first release left it: a job that waits and one that is done."""
    with sqlite3.connect(database) as connection:
        connection.executescript(database_schema.MIGRATIONS[0])
        for number, state in enumerate(("queued", "done"), 1):
            connection.execute(
                "INSERT INTO jobs (id, state, model, request, created_at, stage, clip) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (f"{number}" * 32, state, "demo", make_request().to_json(), datetime.now(UTC).isoformat(), state, None),
            )
        connection.execute("UPDATE jobs SET stage = 'saving' WHERE state = 'done'")
        connection.execute("PRAGMA user_version = 1")


# Older and newer files


def test_a_database_of_the_first_release_is_backed_up_and_migrated(database: Path) -> None:
    write_version_1(database)
    assert repair_if_corrupt(database) == []
    queue = OpenQueue(database)
    assert [(job.id[0], job.state) for job in queue.jobs.jobs()] == [("1", "queued"), ("2", "done")]
    with sqlite3.connect(database) as connection:
        assert connection.execute("SELECT position FROM jobs ORDER BY number").fetchall() == [(1,), (2,)]
    assert queue.worker.claim().id == "1" * 32
    (copy,) = Backups(database).newest_first()
    with sqlite3.connect(copy) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)


def test_a_file_of_a_newer_version_is_left_alone(queue: OpenQueue, database: Path) -> None:
    with sqlite3.connect(database) as connection:
        connection.execute("PRAGMA user_version = 99")
    before = database.read_bytes()
    assert repair_if_corrupt(database) == []
    with pytest.raises(StorageError, match=r"newer Wan Studio \(schema 99.* update this one, or choose another"):
        OpenQueue(database)
    assert database.read_bytes() == before


# Locks, full disks, crashes

HOLD = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
sys.stdin.read()
"""


def test_a_locked_database_is_waited_for_then_an_error(
    queue: OpenQueue, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with (
        subprocess.Popen([sys.executable, "-c", HOLD, str(database)], **pipes) as holder,
        ThreadPoolExecutor(1) as pool,
    ):
        holder.stdout.readline()
        monkeypatch.setattr(room, "BUSY_SECONDS", 0.1)
        with pytest.raises(StorageError, match=r"locked by another program.* close what has it open"):
            queue.editor.submit(make_request())
        monkeypatch.setattr(room, "BUSY_SECONDS", 30.0)
        waiting = pool.submit(queue.editor.submit, make_request())
        holder.communicate(b"")
        assert queue.jobs.job(waiting.result(30)).state is JobState.QUEUED
    assert len(queue.jobs.recent(9)) == 1


def test_a_full_disk_changes_nothing(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "256k") as disk:
        queue = OpenQueue(disk / "studio.sqlite3")
        first = queue.editor.submit(make_request())
        (disk / "ballast").write_bytes(bytes(shutil.disk_usage(disk).free - 16 * 1024))
        with pytest.raises(StorageError, match=r"disk of the database .* is full; free some space"):
            queue.editor.submit_many([(make_request(prompt="p" * 4000), "")] * 100)
        assert [job.id for job in queue.jobs.recent(9)] == [first]
        with pytest.raises(StorageError, match="is full"):
            Backups(disk / "studio.sqlite3").backup()
        (disk / "ballast").unlink()
        assert queue.editor.submit(make_request())
        assert damage(disk / "studio.sqlite3") is None


def test_a_read_only_disk_is_named(tmp_path: Path) -> None:
    with read_only_disk(tmp_path / "disk") as disk:
        for use in (Database.create, repair_if_corrupt):
            with pytest.raises(StorageError, match="check that its folder is writable"):
                use(disk / "studio.sqlite3")


def test_a_transaction_is_whole_or_nothing(queue: OpenQueue, database: Path) -> None:
    with pytest.raises(KeyError), Database(database).transaction() as connection:
        connection.execute("INSERT INTO queue (key, value) VALUES ('paused', '1')")
        raise KeyError
    assert not queue.jobs.queue_state().paused
