"""A studio whose app and workers are killed again and again: the processes, and who kills them when.

Each worker takes the next of the planned lives: one that ends at a crash point, or one that the killer ends at a moment
of its choice.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from threading import Event

from tests.support.processes.warm import Warm, WarmProcess
from tests.support.queues import OpenQueue
from tests.support.studios import read_settings, wait_for, write_settings
from wan_pipeline.jobs.job import FINISHED
from wan_pipeline.jobs.launch import RunningWorker, worker_log
from wan_pipeline.jobs.supervisor import Supervisor
from wan_pipeline.jobs.worker.ending import Ending
from wan_pipeline.jobs.worker.process import work
from wan_pipeline.requests.request import Draft, GenerationRequest
from wan_pipeline.settings import Settings
from wan_pipeline.storage.crash import VARIABLE, CrashPoint
from wan_pipeline.storage.locks import WorkspaceLocks
from wan_pipeline.studio import Studio

SPEEDS = 10
"""Each clip is queued at so many playing speeds, which changes no frame."""
MAX_REACHED = 6
"""A crash point strikes at the latest the time it is reached so often."""
REACHED_ONCE = (CrashPoint.RECOVERING, CrashPoint.TEXTS_ENCODED)
"""In the life of a worker."""
WORKER_POINTS = tuple(point for point in CrashPoint if point not in (CrashPoint.SUBMITTED, CrashPoint.WORKER_STARTED))
APP_POINTS = (CrashPoint.SUBMITTED, CrashPoint.COMMITTING, CrashPoint.COMMITTED, CrashPoint.WORKER_STARTED)
"""In this order: it commits only while it still queues jobs."""


def draft(number: int) -> Draft:
    seed, speed = divmod(number, SPEEDS)
    return Draft("a red ball", width=160, height=160, num_frames=5, num_inference_steps=2, seed=seed, fps=8 + speed)


def number_of(request: GenerationRequest) -> int:
    return request.seed * SPEEDS + request.fps - 8


# Processes


def app(options: str, socket: str, lives: str, jobs: str) -> None:
    """An app with a supervisor in a hurry. It queues the jobs that are not queued yet, and stays."""

    def launch(settings: Settings) -> RunningWorker:
        return Warm(socket).start("tests.support.processes.kills:worker", options, lives, log=worker_log(settings))

    settings = read_settings(options)
    with Studio(settings, partial(Supervisor, launch=launch, poll_seconds=0.05)) as studio:
        studio.start()
        queued = {number_of(job.request) for job in studio.jobs.recent(10**6)}
        for number in range(int(jobs)):
            if number not in queued:
                studio.submit(draft(number))
        Event().wait()


def worker(options: str, lives: str) -> int:
    """A worker that lives the next of the planned lives, or a long one when none is left."""
    for life in sorted(Path(lives).glob("next-*")):
        os.environ[VARIABLE] = life.read_text()
        life.rename(life.with_name(f"taken-{os.getpid()}"))
        break
    return work(read_settings(options))


# Who kills them


class Killer:
    """Runs a studio until all jobs have come to an end, and ends its processes on the way."""

    def __init__(self, warm: Warm, settings: Settings, folder: Path, jobs: int, seed: int) -> None:
        self.kills = 0
        self._warm = warm
        self._settings = settings
        self._lives = folder / "lives"
        self._lives.mkdir()
        self._log = folder / "app.log"
        self._jobs = jobs
        self._random = random.Random(seed)
        self._queue = OpenQueue(settings.database)
        self._planned = 0
        self._ended: set[int] = set()
        """Process ids of workers."""

    def run(self, random_lives: int, app_kills: int) -> None:
        """Every crash point once, `random_lives` workers and `app_kills` apps at random moments."""
        times = {point: 1 if point in REACHED_ONCE else self._random.randint(1, MAX_REACHED) for point in WORKER_POINTS}
        points = [f"{point}:{count}" for point, count in times.items()]
        self._plan([*points, *[""] * random_lives])
        ends = iter([*(f"{point}:{self._random.randint(1, 3)}" for point in APP_POINTS), *[""] * app_kills])
        app, killed_at = self._start_app(next(ends)), float("inf")
        while not self._all_ended():
            self._end_workers()
            if app.poll() is not None or time.monotonic() > killed_at:
                self._end(app)
                end = next(ends, None)
                app, killed_at = self._start_app(end or ""), self._soon() if end == "" else float("inf")
            time.sleep(0.02)
        self._end(app)
        wait_for(lambda: not WorkspaceLocks(self._settings.workspace).worker_is_alive(), "the last worker's end")

    def missed_points(self) -> set[str]:
        """Crash points that no process has died at."""
        text = worker_log(self._settings).read_text(encoding="utf-8") + self._log.read_text(encoding="utf-8")
        return {point for point in CrashPoint if f"crash point {point}\n" not in text}

    def _plan(self, lives: list[str]) -> None:
        self._random.shuffle(lives)
        for life in lives:
            part = self._lives / "part"
            part.write_text(life)
            part.rename(self._lives / f"next-{self._planned:04d}")
            self._planned += 1

    def _start_app(self, end: str) -> WarmProcess:
        arguments = (write_settings(self._settings), self._warm.path, str(self._lives), str(self._jobs))
        return self._warm.start("tests.support.processes.kills:app", *arguments, log=self._log, **{VARIABLE: end})

    def _soon(self) -> float:
        return time.monotonic() + self._random.uniform(0.3, 3.0)

    def _end(self, process: WarmProcess) -> None:
        process.kill()
        process.wait()
        self.kills += 1

    def _end_workers(self) -> None:
        """Kill a worker whose life is to end at a random moment; count one that has ended at its crash point."""
        for life, process in self._living():
            if life == "":
                self._let_it_work()
                process.kill()
            if (code := process.poll()) is not None:
                assert code in (-signal.SIGKILL, Ending.NOTHING_TO_DO), worker_log(self._settings).read_text("utf-8")
                self._ended.add(process.pid)
                if code == Ending.NOTHING_TO_DO:  # it found no job, and its app dead: its life is another's
                    self._plan([life])
                else:
                    self.kills += 1

    def _let_it_work(self) -> None:
        """Until some more jobs have been taken up, if so many are left, and a moment longer."""
        enough = self._queue.jobs.starts() + self._random.randint(0, 8)
        deadline = time.monotonic() + 5
        while self._queue.jobs.starts() < enough and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(self._random.uniform(0.0, 0.2))

    def _living(self) -> Iterator[tuple[str, WarmProcess]]:
        for path in self._lives.glob("taken-*"):
            pid = int(path.name.removeprefix("taken-"))
            if pid not in self._ended:
                yield path.read_text(), WarmProcess(self._warm, pid)

    def _all_ended(self) -> bool:
        counts = self._queue.jobs.counts()
        return sum(counts[state] for state in FINISHED) == self._jobs
