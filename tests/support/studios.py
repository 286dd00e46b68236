"""Studios for tests: small clips, patience, and worker processes that start in milliseconds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from threading import Thread

import psutil

from tests.support.processes.warm import Warm, WarmProcess
from wan_pipeline.jobs.job import Job
from wan_pipeline.jobs.launch import RunningWorker, options_of, settings_of, settings_parser, worker_log
from wan_pipeline.jobs.supervisor import Supervisor
from wan_pipeline.jobs.worker.process import work
from wan_pipeline.jobs.worker.worker import Worker
from wan_pipeline.progress import Stage
from wan_pipeline.requests.request import Draft
from wan_pipeline.settings import Settings
from wan_pipeline.storage.locks import WorkspaceLocks
from wan_pipeline.studio import Studio, Supervise

QUICK = Draft(prompt="a red ball", width=160, height=160, num_frames=5, num_inference_steps=2, seed=1)
ENDLESS = replace(QUICK, width=384, height=384, num_inference_steps=200, num_frames=49, seed=2)
"""More steps than any test waits for."""
PATIENCE = 240.0
"""Seconds. A wait ends with its event, so only a test that fails takes that long."""


def wait_for(condition: Callable[[], object], what: str) -> None:
    """Until the condition holds; fails the test when it does not come true."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {PATIENCE:.0f} s"
        time.sleep(0.02)


def is_denoising(studio: Studio, job_id: str) -> bool:
    job = studio.jobs.job(job_id)
    assert job is not None
    assert job.error is None
    return job.stage is Stage.DENOISING and job.step > 0


def finish(studio: Studio, settings: Settings, *drafts: Draft) -> list[Job]:
    """Jobs as they are after a worker without an app has worked off all."""
    ids = [studio.submit(draft) for draft in drafts]
    Worker(settings).run()
    return [job for job_id in ids if (job := studio.jobs.job(job_id))]


@contextmanager
def working(settings: Settings) -> Iterator[None]:
    """A worker at work in a thread, until it has nothing to do."""
    worker = Thread(target=Worker(settings).run, daemon=True)
    worker.start()
    yield
    worker.join(PATIENCE)
    assert not worker.is_alive()


def leftovers(settings: Settings) -> list[str]:
    return sorted(path.suffix for path in settings.clips.iterdir())


# Worker processes


def worker_pid(studio: Studio) -> int:
    """Of the worker that holds the lock now."""
    locks = WorkspaceLocks(studio.settings.workspace)
    wait_for(lambda: locks.worker_is_alive() and studio.jobs.queue_state().worker_pid, "a worker")
    pid = studio.jobs.queue_state().worker_pid
    assert pid is not None
    return pid


def started_workers() -> list[psutil.Process]:
    """Worker processes that this process has started as Python programs of their own."""
    return [child for child in psutil.Process().children() if _is_worker(child)]


def _is_worker(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE and "wan_pipeline.jobs.worker" in process.cmdline()
    except psutil.NoSuchProcess:
        return False


@contextmanager
def opened(settings: Settings) -> Iterator[Studio]:
    """A studio whose workers are Python programs of their own, as in life. None of them is left at the end."""
    try:
        with Studio(settings) as studio:
            yield studio
    finally:
        for process in started_workers():
            process.kill()
            process.wait()


@contextmanager
def opened_warm(settings: Settings, warm: Warm, stall_seconds: float = 60.0) -> Iterator[Studio]:
    """A studio whose workers are split off `warm`, and whose supervisor is in a hurry. No worker is left at the end."""
    launched: list[WarmProcess] = []
    try:
        with Studio(settings, hurried(warm, launched, stall_seconds)) as studio:
            yield studio
    finally:
        for process in launched:
            process.kill()
            process.wait()


def hurried(warm: Warm, launched: list[WarmProcess], stall_seconds: float = 60.0) -> Supervise:
    """Makes supervisors that look twenty times a second; `launched` gets their workers."""

    def launch(settings: Settings) -> RunningWorker:
        launched.append(
            warm.start("tests.support.studios:warm_worker", write_settings(settings), log=worker_log(settings))
        )
        return launched[-1]

    return partial(Supervisor, launch=launch, poll_seconds=0.05, stall_seconds=stall_seconds)


def warm_worker(options: str) -> int:
    """What `wan_pipeline.jobs.worker` does as a program."""
    return work(read_settings(options))


def write_settings(settings: Settings) -> str:
    return "\n".join(options_of(settings))


def read_settings(options: str) -> Settings:
    return settings_of(settings_parser("tests.support.studios", "").parse_args(options.split("\n")))


def words_of(process: psutil.Process) -> list[str]:
    """The arguments that a process was started with; none of one that has ended."""
    try:
        return process.cmdline()
    except psutil.Error:  # it has ended
        return []
