"""A database that is damaged, empty or lost: put aside, restored from a backup, and said in plain words."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.faults.disks import spoil
from tests.support.processes.warm import Warm
from tests.support.queues import OpenQueue
from tests.support.requests import make_request
from tests.support.studios import QUICK, opened_warm, wait_for
from wan_pipeline.clips.gallery import GalleryQuery
from wan_pipeline.errors import DamagedDatabaseError, StorageError
from wan_pipeline.jobs.job import EventKind, JobState
from wan_pipeline.jobs.supervisor import Supervisor
from wan_pipeline.jobs.worker.worker import Worker
from wan_pipeline.settings import REPOSITORY, Settings
from wan_pipeline.storage import crash
from wan_pipeline.storage.backups import Backups, repair_if_corrupt
from wan_pipeline.storage.locks import WorkspaceLocks
from wan_pipeline.studio import Studio


def test_a_damaged_database_is_put_aside_and_restored_with_a_notice(settings: Settings) -> None:
    queue = OpenQueue(settings.database)
    backed_up = queue.editor.submit_many([(make_request(seed=seed), "night") for seed in range(50)])
    Backups(settings.database).backup()
    queue.editor.submit_many([(make_request(seed=seed), "") for seed in range(50)])
    spoil(settings.database)
    spoiled = settings.database.read_bytes()
    with Studio(settings) as studio:
        (told,) = studio.notices
        assert "The database was damaged" in told
        assert "Jobs queued after that are lost" in told
        assert [job.id for job in studio.jobs.active()] == backed_up
        studio.queue.submit(make_request())
    aside = next(settings.workspace.glob("studio.corrupt-*.sqlite3"))
    assert aside.name in told
    assert aside.read_bytes() == spoiled
    with Studio(settings) as studio:
        assert studio.notices == ()


def test_the_newest_good_backup_is_restored(queue: OpenQueue, database: Path) -> None:
    backups = Backups(database)
    first = queue.editor.submit_many([(make_request(seed=seed), "") for seed in range(60)])
    backups.backup()
    queue.editor.submit(make_request())
    spoil(backups.backup())
    spoil(database)
    assert "took its place" in repair_if_corrupt(database)[0]
    assert [job.id for job in OpenQueue(database).jobs.active()] == first


@pytest.mark.parametrize(
    "content", [b"no database, but long enough to be looked at" * 100, b"SQLite format 3\0" * 90], ids=["text", "head"]
)
def test_without_a_backup_the_queue_starts_empty(content: bytes, database: Path) -> None:
    database.write_bytes(content)
    journal = database.with_name("studio.sqlite3-journal")
    journal.write_bytes(b"of the damaged file")
    assert "There was no good backup, so the queue starts empty" in repair_if_corrupt(database)[0]
    assert not journal.exists()  # else it would be played back into the new file
    assert OpenQueue(database).jobs.recent(1) == []
    assert next(database.parent.glob("studio.corrupt-*.sqlite3")).read_bytes() == content


def test_a_file_that_lost_all_its_bytes_is_restored(queue: OpenQueue, database: Path) -> None:
    job_id = queue.editor.submit(make_request())
    Backups(database).backup()
    database.write_bytes(b"")
    assert "it is empty" in repair_if_corrupt(database)[0]
    assert OpenQueue(database).jobs.job(job_id) is not None


def test_a_deleted_database_is_not_restored_but_noticed(queue: OpenQueue, database: Path) -> None:
    assert repair_if_corrupt(database) == []
    Backups(database).backup()
    database.unlink()
    assert "put the newest backup, studio-000001.sqlite3" in repair_if_corrupt(database)[0]
    assert not database.exists()


def truncate(database: Path) -> None:
    database.write_bytes(b"")


def blank(database: Path) -> None:
    """A sound file that SQLite made anew."""
    database.unlink()
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("VACUUM")


@pytest.mark.parametrize("lose", [truncate, Path.unlink, blank])
def test_a_lost_file_is_filled_by_no_process_and_restored(
    lose: Callable[[Path], None], settings: Settings, queue: OpenQueue
) -> None:
    """A worker that starts just then would leave an empty queue, which nobody could tell from one that is done."""
    job_id = queue.editor.submit(make_request())
    queue.editor.pause_queue()
    good = Backups(settings.database).backup()
    lose(settings.database)
    before = settings.database.read_bytes() if settings.database.exists() else None
    uses = (
        lambda: Worker(settings),
        queue.jobs.queue_state,
        lambda: queue.worker.heartbeat(1),
        lambda: queue.editor.submit(make_request()),
    )
    for use in uses:
        with pytest.raises(DamagedDatabaseError):
            use()
    assert (settings.database.read_bytes() if settings.database.exists() else None) == before
    with pytest.raises(StorageError):
        Backups(settings.database).backup()
    assert Backups(settings.database).newest_first() == [good]

    supervisor = Supervisor(settings, queue.jobs, queue.worker, WorkspaceLocks(settings.workspace), poll_seconds=0.01)
    supervisor.work()  # until it has seen that the queue is paused
    (notice,) = supervisor.notices
    assert "The database was damaged (it " in notice and "took its place" in notice
    assert queue.jobs.existing(job_id).state is JobState.QUEUED


def test_a_second_damage_in_the_same_second_has_a_name_of_its_own(database: Path) -> None:
    for _ in range(3):
        database.write_bytes(b"junk" * 1000)
        repair_if_corrupt(database)
    assert len(list(database.parent.glob("studio.corrupt-*"))) == 3


def test_apps_that_start_together_restore_once(queue: OpenQueue, database: Path) -> None:
    job_id = queue.editor.submit(make_request())
    Backups(database).backup()
    database.write_bytes(b"junk" * 1000)
    with ThreadPoolExecutor(4) as pool:
        told = [sentence for told in pool.map(repair_if_corrupt, [database] * 4) for sentence in told]
    assert len(told) == len(list(database.parent.glob("studio.corrupt-*"))) == 1
    assert OpenQueue(database).jobs.job(job_id) is not None


def test_the_queue_goes_on_from_a_backup_while_the_app_is_open(settings: Settings, warm: Warm) -> None:
    """A disk that fails in the night: nobody is there to start the studio again."""
    with opened_warm(settings, warm) as studio:
        studio.queue.pause_queue()
        ids = [studio.submit(replace(QUICK, seed=seed)) for seed in range(2)]
        studio.start()
        Backups(settings.database).backup()
        spoil(settings.database)
        wait_for(lambda: studio.notices, "the notice")
        assert "The database was damaged" in studio.notices[0]
        studio.queue.resume_queue()
        wait_for(lambda: not studio.jobs.active(), "both clips")
        assert [studio.jobs.job(job_id).state for job_id in ids] == [JobState.DONE] * 2


@pytest.mark.soak
def test_clips_made_since_the_backup_are_found_and_not_made_twice(settings: Settings, warm: Warm) -> None:
    with opened_warm(settings, warm) as studio:
        ids = [studio.submit(replace(QUICK, seed=seed)) for seed in range(2)]
        Backups(settings.database).backup()
        studio.start()
        wait_for(lambda: not studio.jobs.active(), "both clips")
        made = {path: path.stat().st_mtime_ns for path in settings.clips.glob("*.mp4")}
        for copy in Backups(settings.database).newest_first()[:-1]:
            copy.unlink()  # but for the one from before the clips
        spoil(settings.database)
        wait_for(lambda: studio.notices and not studio.jobs.active(), "the clips' rows")
        assert [studio.jobs.job(job_id).state for job_id in ids] == [JobState.DONE] * 2
        assert [studio.jobs.events(job_id)[-1].kind for job_id in ids] == [EventKind.ADOPTED] * 2
        assert {path: path.stat().st_mtime_ns for path in settings.clips.glob("*.mp4")} == made
        assert {clip.path for clip in studio.gallery.page(GalleryQuery(), 0, 9).items} == set(made)


RESTORE = (
    "import pathlib, sys;"
    " from wan_pipeline.storage.backups import repair_if_corrupt; repair_if_corrupt(pathlib.Path(sys.argv[1]))"
)


@pytest.mark.parametrize("moment", ["part-written:1", "part-renamed:1", "part-written:2", "part-renamed:2"])
def test_a_restore_that_is_killed_is_repeated(moment: str, queue: OpenQueue, database: Path) -> None:
    ids = queue.editor.submit_many([(make_request(seed=seed), "") for seed in range(60)])
    Backups(database).backup()
    spoil(database)
    environment = {**os.environ, crash.VARIABLE: moment}
    result = subprocess.run(
        [sys.executable, "-c", RESTORE, str(database)], cwd=REPOSITORY, env=environment, check=False
    )
    assert result.returncode != 0
    repair_if_corrupt(database)
    assert [job.id for job in OpenQueue(database).jobs.active()] == ids
    assert list(database.parent.glob("studio.corrupt-*.sqlite3"))


def test_a_hot_journal_is_rolled_back_before_the_file_is_judged(queue: OpenQueue, database: Path) -> None:
    """A process that was killed while it wrote leaves a half-written file and the journal that makes it whole."""
    job_id = queue.editor.submit(make_request())
    write = """
import os, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA cache_size = 2")
connection.execute("BEGIN IMMEDIATE")
connection.executemany("INSERT INTO queue VALUES (?, ?)", [(str(n), "x" * 3000) for n in range(200)])
os.kill(os.getpid(), 9)
"""
    if sys.platform == "win32":
        pytest.skip("no SIGKILL here")
    subprocess.run([sys.executable, "-c", write, str(database)], cwd=REPOSITORY, check=False)
    assert database.with_name("studio.sqlite3-journal").stat().st_size > 0
    assert repair_if_corrupt(database) == []
    assert [job.id for job in OpenQueue(database).jobs.active()] == [job_id]
