"""Hundreds of jobs while worker and app are killed at every named crash point and at random moments."""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.processes.kills import SPEEDS, Killer, draft, number_of
from tests.support.processes.warm import Warm
from tests.support.requests import Silence
from wan_pipeline.clips.gallery import GalleryQuery
from wan_pipeline.clips.naming import latents_path, poster_path, receipt_path
from wan_pipeline.clips.read import read_receipt
from wan_pipeline.clips.receipt import load_receipt
from wan_pipeline.jobs.job import EventKind, Job, JobState
from wan_pipeline.jobs.table.endings import MAX_ATTEMPTS
from wan_pipeline.settings import Settings
from wan_pipeline.studio import Studio

ENDS = {EventKind.DONE, EventKind.ADOPTED, EventKind.FAILED, EventKind.CANCELLED, EventKind.QUARANTINED}
EXPLAINS_A_START = {EventKind.SUBMITTED, EventKind.INTERRUPTED, EventKind.RELEASED, EventKind.PLAN_LOWERED}


@pytest.mark.soak
@pytest.mark.timeout(1200)
def test_40_jobs_and_a_kill_at_every_point(settings: Settings, warm: Warm, tmp_path: Path) -> None:
    assert kill(settings, warm, tmp_path, jobs=40, random_lives=2, app_kills=1, seed=7) >= 15


@pytest.mark.soak
@pytest.mark.timeout(1200)
def test_200_jobs_and_at_least_30_kills(settings: Settings, warm: Warm, tmp_path: Path) -> None:
    assert kill(settings, warm, tmp_path, jobs=200, random_lives=14, app_kills=4, seed=7) >= 30


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_2000_jobs_and_at_least_300_kills(settings: Settings, warm: Warm, tmp_path: Path) -> None:
    assert kill(settings, warm, tmp_path, jobs=2000, random_lives=250, app_kills=60, seed=8) >= 300


def kill(settings: Settings, warm: Warm, folder: Path, jobs: int, random_lives: int, app_kills: int, seed: int) -> int:
    """How many processes were killed. Nothing was lost, and nothing made twice without a reason."""
    settings = replace(settings, checkpoint_seconds=0.0)
    killer = Killer(warm, settings, folder, jobs, seed)
    killer.run(random_lives, app_kills)
    assert killer.missed_points() == set()
    with Studio(settings) as studio:
        check_jobs(studio, unbroken_hashes(settings, jobs), jobs)
        check_files(studio)
    with closing(sqlite3.connect(settings.database)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    return killer.kills


def unbroken_hashes(settings: Settings, jobs: int) -> dict[int, str]:
    """The hash of each clip's frames, by seed, made in one go in this process."""
    from wan_pipeline.engine.engine import Engine

    elsewhere = replace(settings, workspace=settings.workspace / "unbroken")
    with Studio(elsewhere) as studio, Engine(elsewhere) as engine:
        requests = [studio.requests.resolve(draft(number)) for number in range(0, jobs, SPEEDS)]
        return {request.seed: engine.render(request, Silence()).sha256 for request in requests}


def check_jobs(studio: Studio, unbroken: dict[int, str], count: int) -> None:
    jobs = studio.jobs.jobs(limit=count + 1)
    assert sorted(number_of(job.request) for job in jobs) == list(range(count))
    for job in jobs:
        assert job.state in (JobState.DONE, JobState.QUARANTINED), job
        check_events(studio, job)
        if job.state is JobState.DONE:
            assert job.frames_sha256 == unbroken[job.request.seed]
    assert sum(job.state is JobState.DONE for job in jobs) > 0.8 * count


def check_events(studio: Studio, job: Job) -> None:
    """Each start has its reason before it, and the job one end."""
    kinds = [event.kind for event in studio.jobs.events(job.id)]
    counts = Counter(kinds)
    assert kinds[0] is EventKind.SUBMITTED
    assert kinds[-1] in ENDS
    assert sum(counts[kind] for kind in ENDS) == 1
    reason = False
    for kind in kinds:
        if kind is EventKind.STARTED:
            assert reason, kinds
        reason = kind in EXPLAINS_A_START or (reason and kind is not EventKind.STARTED)
    if job.state is JobState.QUARANTINED:
        assert counts[EventKind.STARTED] == MAX_ATTEMPTS


def check_files(studio: Studio) -> None:
    """The folder of clips holds those of the jobs that are done, each with what belongs to it, and no more."""
    clips = [job.clip for job in studio.jobs.jobs((JobState.DONE,), limit=10**6) if job.clip]
    files = [file for clip in clips for file in (clip, poster_path(clip), receipt_path(clip))]
    files += [latents_path(clip) for clip in clips if load_receipt(clip).latents]
    assert sorted(path for path in studio.settings.clips.iterdir()) == sorted(files)
    assert studio.gallery.page(GalleryQuery(), 0, 1).total == len(clips)
    assert list(studio.settings.checkpoints.glob("*.safetensors")) == []
    for clip in clips[::10]:
        assert read_receipt(clip)
