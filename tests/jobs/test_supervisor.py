"""Workers as processes: killed, stopped, hanging, and none that can be started. And several apps on one workspace."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.processes.warm import Warm
from tests.support.studios import (
    ENDLESS,
    PATIENCE,
    QUICK,
    is_denoising,
    leftovers,
    opened,
    opened_warm,
    wait_for,
    worker_pid,
    write_settings,
)
from wan_pipeline.jobs.job import EventKind, Job, JobState
from wan_pipeline.jobs.log import JobLogs
from wan_pipeline.jobs.watch import MAX_FAILED_STARTS, RestartBackoff, StallDetector
from wan_pipeline.jobs.worker.ending import Ending
from wan_pipeline.jobs.worker.heartbeat import BEAT_SECONDS
from wan_pipeline.progress import Stage
from wan_pipeline.settings import REPOSITORY, Settings
from wan_pipeline.storage.locks import WorkspaceLocks
from wan_pipeline.studio import Studio


@pytest.fixture
def studio(settings: Settings, warm: Warm) -> Iterator[Studio]:
    with opened_warm(settings, warm) as studio:
        yield studio


def test_a_killed_worker_costs_one_more_try_and_then_the_job(studio: Studio, settings: Settings) -> None:
    """A poison job: whoever makes it dies of it."""
    studio.start()
    endless, quick = studio.submit(ENDLESS), studio.submit(QUICK)
    for attempt in (1, 2):
        wait_for(lambda attempt=attempt: studio.jobs.job(endless).attempts == attempt, f"attempt {attempt}")
        wait_for(lambda: is_denoising(studio, endless), "the first step")
        os.kill(worker_pid(studio), signal.SIGKILL)
    wait_for(lambda: not studio.jobs.job(endless).is_active, "giving up")
    job = studio.jobs.job(endless)
    assert (job.state, job.attempts) == (JobState.QUARANTINED, 2)
    assert "The worker process died 2 times" in job.error
    logs, last = JobLogs(settings.job_logs), "The worker died here, in attempt 2. The job is quarantined now."
    wait_for(lambda: logs.excerpt(endless).endswith(last), "the last line of its log")
    assert "attempt 1" in logs.excerpt(endless)
    wait_for(lambda: not studio.jobs.job(quick).is_active, "the next job")
    assert studio.jobs.job(quick).state is JobState.DONE
    assert leftovers(settings) == [".json", ".latents", ".mp4", ".webp"]


def turn(studio: Studio, job_id: str, attempts: int) -> Job:
    """The job when it is denoised in an attempt after `attempts`, or has ended, in one snapshot.

    The row of a worker that was just killed still says that it denoises: a kill then would hit the next worker's start.
    """
    seen: list[Job] = []

    def has_come() -> bool:
        seen[:] = [studio.jobs.job(job_id)]
        job = seen[0]
        return not job.is_active or (job.attempts > attempts and job.stage is Stage.DENOISING and job.step > 0)

    wait_for(has_come, "the job's turn")
    return seen[0]


@pytest.mark.soak
def test_a_job_that_was_only_there_when_its_neighbour_killed_the_worker_is_not_blamed(
    studio: Studio, settings: Settings
) -> None:
    """Jobs beside a poison job, which are saved while it is made, all end well."""
    studio.queue.pause_queue()
    studio.start()
    before, poison, after = (studio.submit(draft) for draft in (QUICK, ENDLESS, replace(QUICK, seed=3)))
    studio.queue.resume_queue()
    attempts = 0
    while (job := turn(studio, poison, attempts)).is_active:
        attempts = job.attempts
        os.kill(worker_pid(studio), signal.SIGKILL)
    wait_for(lambda: not studio.jobs.active(), "the others")
    states = [studio.jobs.job(job_id).state for job_id in (before, poison, after)]
    assert states == [JobState.DONE, JobState.QUARANTINED, JobState.DONE]


@pytest.mark.soak
def test_a_worker_asked_to_stop_gives_its_job_back(studio: Studio, settings: Settings) -> None:
    studio.start()
    job_id = studio.submit(ENDLESS)
    for _ in range(MAX_FAILED_STARTS + 1):
        wait_for(lambda: is_denoising(studio, job_id), "the first step")
        os.kill(pid := worker_pid(studio), signal.SIGTERM)
        wait_for(lambda pid=pid: worker_pid(studio) != pid, "another worker")
    job = studio.jobs.job(job_id)
    assert job.is_active
    assert job.attempts <= 1
    kinds = [event.kind for event in studio.jobs.events(job_id)]
    assert kinds[:3] == [EventKind.SUBMITTED, EventKind.STARTED, EventKind.RELEASED]
    assert EventKind.INTERRUPTED not in kinds
    assert leftovers(settings) == []


@pytest.mark.soak
def test_workers_stopped_before_they_have_a_job_are_not_taken_for_broken(studio: Studio) -> None:
    studio.queue.pause_queue()
    studio.start()
    job_id = studio.submit(QUICK)
    for _ in range(MAX_FAILED_STARTS + 1):
        os.kill(pid := worker_pid(studio), signal.SIGTERM)
        wait_for(lambda pid=pid: worker_pid(studio) != pid, "another worker")
    assert studio.jobs.job(job_id).state is JobState.QUEUED
    studio.queue.resume_queue()
    wait_for(lambda: not studio.jobs.job(job_id).is_active, "the clip")
    assert studio.jobs.job(job_id).state is JobState.DONE


@pytest.mark.soak
def test_a_worker_that_hangs_is_ended_and_the_job_goes_on(settings: Settings, warm: Warm) -> None:
    """Its process is stopped, as a device or a disk that does not answer stops it, and still holds its lock."""
    with opened_warm(settings, warm, stall_seconds=BEAT_SECONDS + 1) as studio:
        studio.start()
        job_id = studio.submit(ENDLESS)
        wait_for(lambda: is_denoising(studio, job_id), "the first step")
        os.kill(worker_pid(studio), signal.SIGSTOP)
        wait_for(lambda: studio.jobs.job(job_id).attempts == 2, "the second try")
        kinds = [event.kind for event in studio.jobs.events(job_id)]
        assert kinds[2:5] == [EventKind.HUNG, EventKind.INTERRUPTED, EventKind.STARTED]
        studio.queue.cancel(job_id)


def test_an_idle_worker_does_not_hang(settings: Settings, warm: Warm) -> None:
    """It has no job, so it does not beat; as soon as there is one, it works."""
    with opened_warm(settings, warm, stall_seconds=0.2) as studio:
        studio.queue.pause_queue()
        studio.start()
        pid, before = worker_pid(studio), studio.jobs.queue_state().beats
        job_id = studio.submit(QUICK)
        time.sleep(1.0)  # many times the patience of the supervisor, in which nothing happens
        assert (worker_pid(studio), studio.jobs.queue_state().beats) == (pid, before)
        assert studio.jobs.job(job_id).state is JobState.QUEUED


def test_silence_counts_only_while_somebody_looks() -> None:
    """After the computer has slept, or when the clock was set, no worker is ended that has had no time to beat."""
    stall = StallDetector(limit_seconds=0.5, longest_gap=0.1)
    looks = 0
    assert not stall.is_stalled(beats=1)
    stall._polled_at -= 3600
    assert not stall.is_stalled(beats=1)
    while not stall.is_stalled(beats=1):
        looks += 1
        stall._polled_at -= 3600
    assert looks == 4
    assert not stall.is_stalled(beats=2)


@pytest.mark.parametrize(
    ("codes", "failed"),
    [([1, 1, 1], 3), ([1, 1, -9], 0), ([128 + signal.SIGTERM] * 9, 0), ([Ending.NO_DATABASE] * 9, 0)],
)
def test_ends_from_outside_say_nothing_of_the_next_worker(codes: list[int], failed: int) -> None:
    backoff = RestartBackoff()
    for code in codes:
        backoff.add(code)
    assert backoff.failed_starts == failed
    assert backoff.may_start() == (len(codes) <= MAX_FAILED_STARTS)


def test_a_worker_that_cannot_start_fails_the_job_in_words(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Python that dies at once stands for a broken installation."""
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\nexit 9\n")
    broken.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(broken))
    with Studio(settings) as studio:
        studio.start()
        job_id = studio.submit(QUICK)
        wait_for(lambda: not studio.jobs.job(job_id).is_active, "giving up")
        assert "cannot start (exit status 9)" in studio.jobs.job(job_id).error
        assert str(settings.logs / "worker.log") in studio.jobs.job(job_id).error


# Apps


APP = """
import sys
from tests.support.studios import QUICK, read_settings
from wan_pipeline.studio import Studio
studio = Studio(read_settings(sys.argv[1]))
studio.start()
print(studio.submit(QUICK), flush=True)
sys.stdin.read()
"""


def test_a_job_goes_on_when_its_app_is_killed(settings: Settings) -> None:
    """A second studio on the workspace, as a new tab of a restarted app, sees it finish."""
    options = write_settings(settings)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with opened(settings) as studio:
        with subprocess.Popen([sys.executable, "-c", APP, options], cwd=REPOSITORY, text=True, **pipes) as app:
            job_id = app.stdout.readline().strip()
            wait_for(lambda: studio.jobs.job(job_id).attempts, "a worker")
            app.kill()
            app.wait(PATIENCE)
        assert studio.jobs.job(job_id).is_active
        wait_for(lambda: not studio.jobs.job(job_id).is_active, "the clip")
        assert studio.jobs.job(job_id).state is JobState.DONE
        wait_for(lambda: not WorkspaceLocks(settings.workspace).worker_is_alive(), "the worker's end")


@pytest.mark.soak
def test_a_second_app_looks_on_and_takes_over_when_the_first_has_left(settings: Settings, warm: Warm) -> None:
    with opened_warm(settings, warm) as second:
        with opened_warm(settings, warm) as first:
            first.start()
            second.start()
            assert (first.is_viewer, second.is_viewer) == (False, True)
            for studio in (first, second):  # who looks on may add to the queue: the first has it worked off
                job_id = studio.submit(QUICK)
                wait_for(lambda job_id=job_id: not second.jobs.job(job_id).is_active, "the clip, as seen by the second")
            assert first.jobs.recent() == second.jobs.recent()
        wait_for(lambda: not second.is_viewer, "the second to take over")
        job_id = second.submit(replace(QUICK, seed=4))
        wait_for(lambda: not second.jobs.job(job_id).is_active, "the clip of the second")
        assert second.jobs.job(job_id).state is JobState.DONE


def test_a_studio_that_is_not_served_is_no_viewer(studio: Studio) -> None:
    """Commands of the command line may queue jobs beside an open app."""
    assert not studio.is_viewer


# `queue work`


@pytest.mark.soak
def test_work_ends_with_the_queue_and_so_does_its_worker(studio: Studio, settings: Settings) -> None:
    job_id = studio.submit(QUICK)
    looks: list[int] = []
    studio.work(lambda: looks.append(1))
    assert studio.jobs.job(job_id).state is JobState.DONE
    assert looks
    assert not WorkspaceLocks(settings.workspace).worker_is_alive()


def test_work_has_nothing_to_do_while_the_queue_is_paused(studio: Studio) -> None:
    job_id = studio.submit(QUICK)
    studio.queue.pause_queue()
    studio.work(lambda: None)
    assert studio.jobs.job(job_id).state is JobState.QUEUED


def test_work_that_is_interrupted_stops_its_worker(studio: Studio, settings: Settings) -> None:
    job_id = studio.submit(ENDLESS)

    def ctrl_c() -> None:
        if is_denoising(studio, job_id):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        studio.work(ctrl_c)
    assert (studio.jobs.job(job_id).state, studio.jobs.job(job_id).attempts) == (JobState.QUEUED, 0)
    assert not WorkspaceLocks(settings.workspace).worker_is_alive()
