"""A disk that fills up at each write, and a database that others hold: each ends in words."""

from __future__ import annotations

import logging
import os
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Timer
from typing import Any

import pytest

from tests.support.faults.disks import read_only_disk, small_disk
from tests.support.studios import QUICK, finish, wait_for, working
from wan_pipeline.errors import DiskFullError
from wan_pipeline.jobs.disk_space import DiskBackoff
from wan_pipeline.jobs.job import EventKind, JobState
from wan_pipeline.jobs.table.worker_queue import WorkerQueue
from wan_pipeline.jobs.worker import render as render_module
from wan_pipeline.jobs.worker import retry
from wan_pipeline.jobs.worker.ending import Ending
from wan_pipeline.jobs.worker.process import work
from wan_pipeline.progress import Stage
from wan_pipeline.settings import Settings
from wan_pipeline.storage.files import RESERVE_BYTES, check_room
from wan_pipeline.studio import Studio

ROOM = f"{RESERVE_BYTES // 2**20 + 8}m"
"""Enough to begin with a clip."""


def fill(folder: Path) -> Path:
    """Leave not a byte of room on the folder's disk. The file that takes it."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (2**20, 4096, 1):
            while True:
                try:
                    file.write(bytes(size))
                except OSError:
                    break
    return filler


def at(monkeypatch: pytest.MonkeyPatch, module: Any, name: str, happens: Callable[[], object]) -> None:
    """The first time a function is called, something happens right before."""
    function, left = getattr(module, name), [happens]

    def call(*arguments: Any) -> Any:
        if left:
            left.pop()()
        return function(*arguments)

    monkeypatch.setattr(module, name, call)


# Disks


def full(folder: Path) -> str:
    return f"The disk of the folder {folder} is full; free some space or choose a folder on another disk."


def waits(studio: Studio) -> bool:
    return studio.jobs.queue_state().no_room is not None


@pytest.mark.parametrize("write", ["encode", "write_poster", "write_receipt"])
def test_23_a_disk_that_fills_up_while_a_clip_is_saved_fails_nothing(
    studio: Studio, settings: Settings, monkeypatch: pytest.MonkeyPatch, write: str
) -> None:
    """Nothing half written is left, the queue says why it waits, and goes on by itself when there is room."""
    job_id = studio.submit(QUICK)
    with small_disk(settings.clips, ROOM):
        at(monkeypatch, render_module, write, lambda: fill(settings.clips))
        with working(settings):
            wait_for(lambda: waits(studio), "the wait for room")
            assert [path.name for path in settings.clips.iterdir()] == ["filler"]
            job, state = studio.jobs.existing(job_id), studio.jobs.queue_state()
            assert (job.state, job.attempts, job.error, state.paused) == (JobState.QUEUED, 0, None, True)
            assert state.no_room is not None and state.no_room.reason == full(settings.clips)
            assert studio.jobs.events(job_id)[-1].detail.startswith(full(settings.clips))
            (settings.clips / "filler").unlink()
        assert studio.jobs.existing(job_id).state is JobState.DONE
        assert not studio.jobs.queue_state().paused and not waits(studio)


@pytest.mark.soak
def test_23_a_night_without_room_fails_nothing_and_computes_nothing(
    studio: Studio, settings: Settings, tmp_path: Path
) -> None:
    ids = [studio.submit(replace(QUICK, seed=seed)) for seed in range(5)]
    with small_disk(settings.clips, ROOM):
        filler = settings.clips / "filler"
        filler.write_bytes(bytes(9 * 2**20))
        with working(settings):
            wait_for(lambda: waits(studio), "the wait for room")
            job = studio.jobs.existing(ids[0])
            assert (job.state, job.attempts, job.stage) == (JobState.QUEUED, 0, Stage.QUEUED)
            assert studio.jobs.counts()[JobState.QUEUED] == 5
            filler.unlink()
        assert [studio.jobs.existing(job_id).state for job_id in ids] == [JobState.DONE] * 5


def test_23_resume_tries_again_and_a_pause_of_the_person_stays(studio: Studio, settings: Settings) -> None:
    job_id = studio.submit(QUICK)
    with small_disk(settings.clips, ROOM) as disk:
        (disk / "filler").write_bytes(bytes(9 * 2**20))
        with working(settings):
            wait_for(lambda: waits(studio), "the wait for room")
            studio.queue.resume_queue()
            wait_for(lambda: waits(studio), "the wait for room after Resume")
            assert [event.kind for event in studio.jobs.events(job_id)].count(EventKind.RELEASED) == 2
            studio.queue.pause_queue()
        state = studio.jobs.queue_state()
        assert (state.paused, state.no_room, studio.jobs.has_work()) == (True, None, False)


def test_23_the_reserve_is_at_most_32_megabytes(settings: Settings) -> None:
    with small_disk(settings.clips, f"{32 * 10**6 // 1024 + 8}k"):
        check_room(settings.clips, 0)
        with pytest.raises(DiskFullError, match=r"may need 33\.0 MB; free some space"):
            check_room(settings.clips, 10**6)


@pytest.mark.soak
def test_23_a_cache_without_room_is_waited_for(studio: Studio, settings: Settings) -> None:
    job_id = studio.submit(QUICK)
    with small_disk(settings.cache, "60m"):
        filler = fill(settings.cache)
        with working(settings):
            wait_for(lambda: waits(studio), "the wait for room")
            no_room = studio.jobs.queue_state().no_room
            assert no_room is not None and f"The disk of the folder {settings.cache}" in no_room.reason
            filler.unlink()
        assert studio.jobs.existing(job_id).state is JobState.DONE


def test_23_clips_that_find_no_room_again_and_again_are_tried_ever_more_seldom() -> None:
    backoff = DiskBackoff()
    backoff.clip_found_none()
    assert backoff.may_look()
    backoff.clip_found_none()
    assert not backoff.may_look()
    backoff.clip_was_saved()
    assert backoff.may_look()


@pytest.mark.parametrize("folder", ["previews", "checkpoints", "job_logs"])
def test_what_only_helps_may_find_no_room(settings: Settings, caplog: pytest.LogCaptureFixture, folder: str) -> None:
    caplog.set_level(logging.INFO)  # as a worker has it
    settings = replace(settings, checkpoint_seconds=0.0)
    with Studio(settings) as studio, small_disk(getattr(settings, folder), "4k") as disk:
        fill(disk)
        (job,) = finish(studio, settings, QUICK)
        assert (job.state, job.error) == (JobState.DONE, None)


@contextmanager
def studio_on_a_small_disk(settings: Settings, tmp_path: Path) -> Iterator[tuple[Path, Studio]]:
    """The disk holds the workspace, its database too."""
    with (
        small_disk(tmp_path / "disk", "60m") as disk,
        Studio(replace(settings, workspace=disk / "workspace")) as studio,
    ):
        yield disk, studio


def test_23_a_database_without_room_loses_no_finished_clip(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full when the clip is there and its row is to be written. The worker waits until it can be."""
    with studio_on_a_small_disk(settings, tmp_path) as (disk, studio):
        settings, job_id = studio.settings, studio.submit(QUICK)
        finished = render_module.write_receipt

        def then_fill(*arguments: Any) -> Any:
            path = finished(*arguments)
            fill(disk)
            return path

        tries, finish = [], WorkerQueue.finish

        def make_room_at_last(*arguments: Any) -> None:
            tries.append(1)
            if len(tries) > retry.TRIES:
                (disk / "filler").unlink(missing_ok=True)
            finish(*arguments)

        monkeypatch.setattr(render_module, "write_receipt", then_fill)
        monkeypatch.setattr(WorkerQueue, "finish", make_room_at_last)
        monkeypatch.setattr(retry, "PAUSE_SECONDS", 0.01)
        assert work(settings) is Ending.NOTHING_TO_DO
        assert len(tries) > retry.TRIES
        assert (studio.jobs.job(job_id).state, studio.jobs.job(job_id).attempts) == (JobState.DONE, 1)


def test_23_a_worker_whose_database_has_no_room_can_be_stopped(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGTERM ends it though a clip's row cannot be written. The next worker adopts the clip."""
    with studio_on_a_small_disk(settings, tmp_path) as (disk, studio):
        settings, job_id = studio.settings, studio.submit(QUICK)
        finish = WorkerQueue.finish

        asked: list[int] = []

        def without_room(*arguments: Any) -> None:
            if not asked:
                fill(disk)
                asked.append(signal.SIGTERM)
                os.kill(os.getpid(), signal.SIGTERM)
            finish(*arguments)

        monkeypatch.setattr(WorkerQueue, "finish", without_room)
        assert work(settings) is Ending.NO_DATABASE
        (disk / "filler").unlink()
        assert work(settings) is Ending.NOTHING_TO_DO
        assert studio.jobs.existing(job_id).state is JobState.DONE
        assert studio.jobs.events(job_id)[-1].kind is EventKind.ADOPTED


def test_a_read_only_workspace_is_said_by_the_app_and_survived_by_the_worker(settings: Settings) -> None:
    with Studio(settings) as studio:
        studio.submit(QUICK)
    with read_only_disk(settings.workspace):
        with pytest.raises(Exception, match=r"cannot be written to \(Read-only file system\); choose another folder"):
            Studio(settings)
        assert work(settings) is Ending.NO_DATABASE


# A database that another program holds


@pytest.fixture
def hold(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Holds the database for some seconds, from another connection. Ours give up after a tenth of one."""
    monkeypatch.setattr("wan_pipeline.storage.database.BUSY_SECONDS", 0.1)

    def hold(seconds: float) -> None:
        other = sqlite3.connect(settings.database, isolation_level=None, check_same_thread=False)
        other.execute("BEGIN EXCLUSIVE")
        Timer(seconds, other.close).start()

    return hold


def test_a_database_held_for_longer_than_one_try_costs_no_clip(
    studio: Studio, settings: Settings, hold: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry, "PAUSE_SECONDS", 0.2)
    job_id = studio.submit(QUICK)
    at(monkeypatch, render_module, "write_receipt", lambda: hold(0.5))
    assert work(settings) is Ending.NOTHING_TO_DO
    assert studio.jobs.events(job_id)[-1].kind is EventKind.DONE


@pytest.mark.soak
def test_a_database_held_for_good_ends_the_worker_and_costs_no_clip(
    studio: Studio, settings: Settings, hold: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry, "PAUSE_SECONDS", 0.01)
    first, second = studio.submit(QUICK), studio.submit(replace(QUICK, seed=2))
    at(monkeypatch, render_module, "write_receipt", lambda: hold(3.0))
    assert work(settings) is Ending.NO_DATABASE
    monkeypatch.setattr("wan_pipeline.storage.database.BUSY_SECONDS", 30.0)
    assert work(settings) is Ending.NOTHING_TO_DO
    assert studio.jobs.events(first)[-1].kind is EventKind.ADOPTED
    assert studio.jobs.job(second).state is JobState.DONE
