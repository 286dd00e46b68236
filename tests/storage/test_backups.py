"""Backups of the database: whole, few, in order, and never of a damaged file."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.support.faults.disks import small_disk, spoil
from tests.support.queues import OpenQueue
from tests.support.requests import make_request
from wan_pipeline.errors import StorageError
from wan_pipeline.settings import Settings
from wan_pipeline.storage import backups as backups_module
from wan_pipeline.storage.backups import MAX_BACKUPS, Backups
from wan_pipeline.studio import Studio


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_file())


def test_a_backup_is_complete_and_made_only_after_a_change(queue: OpenQueue, database: Path) -> None:
    backups = Backups(database)
    job_id = queue.editor.submit(make_request())
    copy = backups.backup()
    assert backups.backup() is None
    assert Backups(database).backup() is None  # another process knows it too
    queue.editor.submit(make_request())
    newer = backups.backup()
    assert backups.newest_first() == [newer, copy]
    assert [job.id for job in OpenQueue(copy).jobs.recent(9)] == [job_id]


def test_only_the_newest_backups_stay(queue: OpenQueue, database: Path) -> None:
    backups, made = Backups(database), []
    for seed in range(MAX_BACKUPS + 3):
        queue.editor.submit(make_request(seed=seed))
        made.append(backups.backup())
    assert backups.newest_first() == made[: -(MAX_BACKUPS + 1) : -1]
    assert names(database.parent / "backups") == sorted(path.name for path in made[-MAX_BACKUPS:])


def test_backups_are_ordered_by_number_though_the_clock_is_set_back(queue: OpenQueue, database: Path) -> None:
    backups = Backups(database)
    backups.backup()
    queue.editor.submit(make_request())
    yesterday = (datetime.now(UTC) - timedelta(days=1)).timestamp()
    os.utime(database, (yesterday, yesterday))
    newest = backups.backup()
    assert backups.newest_first()[0] == newest


def test_a_damaged_database_pushes_no_good_backup_out(queue: OpenQueue, database: Path) -> None:
    backups = Backups(database)
    queue.editor.submit_many([(make_request(seed=seed), "") for seed in range(100)])
    good = backups.backup()
    spoil(database)
    with pytest.raises(StorageError, match="is damaged"):
        backups.backup()
    assert backups.newest_first() == [good]
    assert names(good.parent) == [good.name]  # and no .part


def test_a_backup_while_others_write_is_of_one_moment(queue: OpenQueue, database: Path) -> None:
    """Each transaction adds three jobs: a copy that was torn would hold another number."""
    backups = Backups(database)

    def submit() -> None:
        for _ in range(10):
            queue.editor.submit_many([(make_request(), "")] * 3)

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(submit)
        while not writing.done():
            if copy := backups.backup():
                assert sum(OpenQueue(copy).jobs.counts().values()) % 3 == 0
        writing.result()


def test_a_tick_backs_up_when_it_is_time(
    queue: OpenQueue, database: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    Backups(database).tick()
    assert not (database.parent / "backups").exists()
    monkeypatch.setattr(backups_module, "INTERVAL_SECONDS", 0.0)
    backups = Backups(database)
    backups.tick()
    assert len(backups.newest_first()) == 1
    database.unlink()
    OpenQueue(database)
    spoil(database)
    backups.tick()  # the worker goes on
    assert "could not be backed up" in caplog.text


def test_no_room_for_a_backup_does_not_keep_the_studio_from_starting(settings: Settings) -> None:
    with small_disk(settings.workspace / "backups", "4k"), Studio(settings) as studio:
        studio.start()
        assert "The database could not be backed up: The disk of the folder" in studio.notices[0]
