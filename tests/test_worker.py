"""The worker on a tiny real model: in this process where nothing dies, as real processes where something does."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Event

import psutil
import pytest

from tests.disks import small_disk
from tests.requests import Silence
from wan_pipeline.clips.read import read_receipt
from wan_pipeline.engine.progress import Stage
from wan_pipeline.jobs.job import Job, JobState
from wan_pipeline.jobs.locks import WorkspaceLocks
from wan_pipeline.jobs.store import JobStore
from wan_pipeline.jobs.worker import Worker
from wan_pipeline.request import Draft, GenerationRequest
from wan_pipeline.settings import REPOSITORY, Settings
from wan_pipeline.studio import Studio

QUICK = Draft(prompt="a red ball", width=160, height=160, num_frames=5, num_inference_steps=2, seed=1)
ENDLESS = replace(QUICK, num_inference_steps=200, num_frames=49, seed=2)
"""More steps than any test waits for."""
PATIENCE = 90.0


def wait_for(condition: Callable[[], object], what: str) -> None:
    """Until the condition holds; fails the test when it does not come true."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {PATIENCE:.0f} s"
        time.sleep(0.02)


def is_denoising(studio: Studio, job_id: str) -> bool:
    job = studio.job(job_id)
    assert job is not None
    assert job.error is None
    return job.stage is Stage.DENOISING and job.step > 0


def workers() -> list[psutil.Process]:
    """Worker processes that this process has started."""
    return [child for child in psutil.Process().children() if is_worker(child)]


def is_worker(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE and "wan_pipeline.jobs.worker" in process.cmdline()
    except psutil.NoSuchProcess:
        return False


def leftovers(settings: Settings) -> list[str]:
    return sorted(path.suffix for path in settings.clips.iterdir())


@pytest.fixture
def studio(settings: Settings) -> Iterator[Studio]:
    """Closed at the end, with every worker it has left."""
    with Studio(settings) as studio:
        yield studio
    for process in workers():
        process.kill()
        process.wait()


def finish(studio: Studio, settings: Settings, *drafts: Draft) -> list[Job]:
    """Jobs as they are after a worker without an app has worked off all."""
    ids = [studio.submit(draft) for draft in drafts]
    Worker(settings).run()
    return [job for job_id in ids if (job := studio.job(job_id))]


def test_the_queue_is_worked_off_and_the_worker_ends(studio: Studio, settings: Settings) -> None:
    first, second = finish(studio, settings, QUICK, replace(QUICK, seed=5))
    for job in (first, second):
        assert (job.state, job.error, job.attempts) == (JobState.DONE, None, 1)
        assert job.clip and job.clip.is_file()
        assert job.poster and job.poster.is_file()
        assert {stage.value for stage in Stage} - {"queued"} == set(job.seconds)
        receipt = read_receipt(job.clip)
        assert receipt is not None
        assert GenerationRequest.from_dict(receipt["request"]) == job.request
        assert receipt["frames_sha256"] == job.frames_sha256
        assert receipt["provenance"]["environment"]["device"]
    assert first.frames_sha256 != second.frames_sha256
    assert leftovers(settings) == [".json"] * 2 + [".mp4"] * 2 + [".webp"] * 2
    assert list(settings.previews.iterdir()) == []
    assert not WorkspaceLocks(settings.workspace).worker_is_alive()


def test_the_same_seed_gives_the_same_clip_in_the_queue_and_now(studio: Studio, settings: Settings) -> None:
    (job,) = finish(studio, settings, QUICK)
    now = studio.render_now(QUICK, settings.workspace / "now.mp4", Silence())
    assert now.frames_sha256 == job.frames_sha256
    again = studio.draft_of(job.id)
    assert studio.resolve(again) == job.request


def test_a_job_that_fails_does_not_hold_the_next_up(studio: Studio, settings: Settings, tiny_demo: Path) -> None:
    """The weights vanish between submit and start."""
    broken = replace(settings, demo_checkpoint=settings.workspace / "copy")
    shutil.copytree(tiny_demo, broken.demo_checkpoint)
    shutil.rmtree(broken.demo_checkpoint / "transformer")
    (failed,) = finish(studio, broken, QUICK)
    assert failed.state is JobState.FAILED
    assert "transformer" in (failed.error or "")
    (done,) = finish(studio, settings, QUICK)
    assert done.state is JobState.DONE


def test_a_full_disk_fails_the_job_in_words_and_leaves_nothing(studio: Studio, settings: Settings) -> None:
    job_id = studio.submit(QUICK)
    with small_disk(settings.clips, "4k"):
        Worker(settings).run()
        assert list(settings.clips.iterdir()) == []
    job = studio.job(job_id)
    assert job is not None
    assert (job.state, job.error) == (
        JobState.FAILED,
        f"The disk of the folder {settings.clips} is full; free some space or choose a folder on another disk.",
    )


def test_a_cache_without_room_fails_the_job_in_words(studio: Studio, settings: Settings) -> None:
    job_id = studio.submit(QUICK)
    with small_disk(settings.cache, "4k"):
        Worker(settings).run()
    job = studio.job(job_id)
    assert job is not None
    assert job.state is JobState.FAILED
    assert f"The disk of the folder {settings.cache}" in (job.error or "")


def test_what_a_dead_worker_left_half_written_is_removed(studio: Studio, settings: Settings) -> None:
    store = JobStore(settings.database)
    job_id = studio.submit(QUICK)
    store.claim()
    store.cancel(job_id)
    (settings.clips / f"2026-11-22_a-red-ball_seed1_{job_id[:8]}.mp4.0badcafe.part").write_bytes(b"half")
    (settings.clips / "somebody-elses.mp4.0badcafe.part").write_bytes(b"half")
    for name in (f"{job_id}.webp", f"{job_id}.webp.0badcafe.part"):
        (settings.previews / name).write_bytes(b"half")
    Worker(settings).run()
    assert [path.name for path in settings.clips.iterdir()] == ["somebody-elses.mp4.0badcafe.part"]
    assert list(settings.previews.iterdir()) == []
    assert studio.job(job_id).state is JobState.CANCELLED


def test_a_clip_that_lacks_only_its_row_gets_it(studio: Studio, settings: Settings) -> None:
    """The worker died between the last file and the row: the clip is not made again, and not lost."""
    (made,) = finish(studio, settings, QUICK)
    written = made.clip.stat().st_mtime_ns
    with sqlite3.connect(settings.database) as connection:
        connection.execute("UPDATE jobs SET state = 'running', attempts = 2, clip = NULL, frames_sha256 = NULL")
    Worker(settings).run()
    job = studio.job(made.id)
    assert (job.state, job.clip, job.poster, job.frames_sha256) == (
        made.state,
        made.clip,
        made.poster,
        made.frames_sha256,
    )
    assert job.clip.stat().st_mtime_ns == written


def test_a_clip_without_its_receipt_is_made_again(studio: Studio, settings: Settings) -> None:
    (made,) = finish(studio, settings, QUICK)
    made.clip.with_suffix(".json").unlink()
    with sqlite3.connect(settings.database) as connection:
        connection.execute("UPDATE jobs SET state = 'running', clip = NULL")
    Worker(settings).run()
    assert (studio.job(made.id).state, studio.job(made.id).attempts) == (JobState.DONE, 2)
    assert leftovers(settings) == [".json", ".mp4", ".webp"]


def test_a_second_worker_leaves_the_queue_to_the_first(studio: Studio, settings: Settings) -> None:
    job_id = studio.submit(QUICK)
    lock = WorkspaceLocks(settings.workspace).worker()
    with lock:
        command = [sys.executable, "-m", "wan_pipeline.jobs.worker", "--workspace", str(settings.workspace)]
        subprocess.run(command, cwd=REPOSITORY, check=True, timeout=PATIENCE)
    assert studio.active()[0].id == job_id


def test_cancel_stops_a_running_job_within_a_step(studio: Studio, settings: Settings) -> None:
    studio.start()
    endless, waiting, quick = (studio.submit(draft) for draft in (ENDLESS, ENDLESS, QUICK))
    studio.cancel(waiting)
    wait_for(lambda: is_denoising(studio, endless), "the first step")
    wait_for(lambda: studio.preview(endless), "a preview")
    cancelled_at = studio.job(endless)
    studio.cancel(endless)
    wait_for(lambda: not studio.job(endless).is_active, "the cancel")
    job = studio.job(endless)
    assert job.state is studio.job(waiting).state is JobState.CANCELLED
    assert job.step <= cancelled_at.step + 3
    assert leftovers(settings) == []
    assert studio.preview(endless) is None
    wait_for(lambda: not studio.job(quick).is_active, "the next job")
    assert studio.job(quick).state is JobState.DONE
    assert studio.last_frame(quick).suffix == ".png"


def test_a_killed_worker_costs_one_more_try_and_then_the_job(studio: Studio, settings: Settings) -> None:
    studio.start()
    endless, quick = studio.submit(ENDLESS), studio.submit(QUICK)
    for attempt in (1, 2):
        wait_for(lambda attempt=attempt: studio.job(endless).attempts == attempt, f"attempt {attempt}")
        wait_for(lambda: is_denoising(studio, endless), "the first step")
        (process,) = workers()
        process.kill()
    wait_for(lambda: not studio.job(endless).is_active, "giving up")
    job = studio.job(endless)
    assert (job.state, job.attempts) == (JobState.QUARANTINED, 2)
    assert "The worker process died 2 times" in job.error
    wait_for(lambda: not studio.job(quick).is_active, "the next job")
    assert studio.job(quick).state is JobState.DONE
    assert leftovers(settings) == [".json", ".mp4", ".webp"]


def test_a_worker_asked_to_stop_gives_its_job_back(studio: Studio, settings: Settings) -> None:
    job_id = studio.submit(ENDLESS)
    folders = [f"--{name.replace('_', '-')}={value}" for name, value in vars(settings).items()]
    command = [sys.executable, "-m", "wan_pipeline.jobs.worker", *folders]
    with subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.DEVNULL) as process:
        wait_for(lambda: is_denoising(studio, job_id), "the first step")
        process.terminate()
        assert process.wait(PATIENCE) != 0
    job = studio.job(job_id)
    assert (job.state, job.attempts) == (JobState.QUEUED, 0)
    assert leftovers(settings) == []


APP = """
import sys
from pathlib import Path
from tests.test_worker import QUICK
from wan_pipeline.settings import Settings
from wan_pipeline.studio import Studio
studio = Studio(Settings(*map(Path, sys.argv[1:])))
studio.start()
print(studio.submit(QUICK), flush=True)
sys.stdin.read()
"""


def test_a_job_goes_on_when_its_app_is_killed(studio: Studio, settings: Settings) -> None:
    """A second studio on the workspace, as a new tab of a restarted app, sees it finish."""
    folders = [str(value) for value in vars(settings).values()]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", APP, *folders], cwd=REPOSITORY, text=True, **pipes) as app:
        job_id = app.stdout.readline().strip()
        wait_for(lambda: studio.job(job_id).attempts, "a worker")
        app.kill()
        app.wait(PATIENCE)
    assert studio.job(job_id).is_active
    wait_for(lambda: not studio.job(job_id).is_active, "the clip")
    assert studio.job(job_id).state is JobState.DONE
    wait_for(lambda: not WorkspaceLocks(settings.workspace).worker_is_alive(), "the worker's end")


def test_two_studios_share_one_worker_and_see_the_same(studio: Studio, settings: Settings) -> None:
    studio.start()
    with Studio(settings) as other:
        other.start()
        ids = [studio.submit(QUICK), other.submit(replace(QUICK, seed=9))]
        wait_for(lambda: studio.active()[:1] and studio.active()[0].state is JobState.RUNNING, "a worker")
        assert [job.id for job in other.active()] == [job.id for job in studio.active()] == ids
        wait_for(lambda: not other.active(), "both clips")
        assert other.recent() == studio.recent()
        assert [job.state for job in other.recent()] == [JobState.DONE] * 2
        wait_for(lambda: len(workers()) == 1, "the second worker's end")


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
        wait_for(lambda: not studio.job(job_id).is_active, "giving up")
        assert "cannot start (exit status 9)" in studio.job(job_id).error
        assert str(settings.logs / "worker.log") in studio.job(job_id).error


def test_locks_of_dead_apps_do_not_count(settings: Settings) -> None:
    locks = WorkspaceLocks(settings.workspace)
    command = "import sys; from pathlib import Path; from wan_pipeline.jobs.locks import WorkspaceLocks\n"
    command += (
        "lock = WorkspaceLocks(Path(sys.argv[1])).app(); lock.acquire(); print('held', flush=True); sys.stdin.read()"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", command, settings.workspace], cwd=REPOSITORY, **pipes) as app:
        app.stdout.readline()
        assert locks.any_app_is_alive()
        app.kill()
        app.wait()
    assert not locks.any_app_is_alive()
    assert list((settings.workspace / "locks").glob("app-*")) == []


def test_an_app_starts_while_a_worker_looks_who_is_there(settings: Settings) -> None:
    """To look at a lock is to hold it for a moment: an app that takes its own must wait, and keep its file."""
    locks, done = WorkspaceLocks(settings.workspace), Event()

    def look() -> None:
        while not done.is_set():
            locks.any_app_is_alive()

    with ThreadPoolExecutor(2) as pool:
        looking = [pool.submit(look) for _ in range(2)]
        try:
            for _ in range(500):
                with locks.app() as lock:
                    assert Path(lock.lock_file).exists()
        finally:
            done.set()
        assert [look.exception() for look in looking] == [None, None]
