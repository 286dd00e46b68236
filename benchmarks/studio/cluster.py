"""Simulate a cluster of up to 1,000 nodes against the real store, and find where it bends.

    python -m benchmarks.studio.cluster --output benchmarks/results/cluster.json

The queue, its claims, the observers of running jobs and the rows of finished ones are the studio's own, on a real
SQLite file; only the nodes are simulated: each takes STEP_SECONDS a step, as a 14B model does on an H100 at 832x480,
and STEPS_A_CLIP steps a clip. As in `wan-studio cluster` one process writes for all nodes, with a thread a running job.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from statistics import median, quantiles
from threading import Event, Thread
from typing import Any

import psutil

from benchmarks.demo.request import demo_request
from wan_pipeline.cluster.dispatcher import TICK_SECONDS
from wan_pipeline.cluster.queue import SerialDatabase, SharedQueue
from wan_pipeline.jobs.job import Finished, Job
from wan_pipeline.jobs.table.editor import QueueEditor
from wan_pipeline.jobs.table.reader import JobReader
from wan_pipeline.jobs.table.worker_queue import StopRequests
from wan_pipeline.jobs.worker.files import JobFiles
from wan_pipeline.jobs.worker.observer import JobObserver
from wan_pipeline.progress import Progress, Stage
from wan_pipeline.settings import Settings
from wan_pipeline.storage.database import Database
from wan_pipeline.storage.locks import CLUSTER_SLOT

NODES = (10, 30, 100, 300, 1000)
STEP_SECONDS = 6.0
STEPS_A_CLIP = 5
"""A clip has some 40; with 5 there are eight times as many claims and ends as in a cluster."""
MEASURED_SECONDS = 30.0
FILLING_SECONDS = 60.0
"""The most that all nodes are waited for."""
ENDING_SECONDS = 60.0
"""The most that all threads are waited for at the end."""
LIMIT_SECONDS = 1.0
"""A store that takes longer for what people wait for bends."""


@dataclass
class Latencies:
    """Seconds that each kind of call took."""

    seconds: dict[str, list[float]] = field(default_factory=dict)

    def timed(self, name: str, call: Callable[[], Any]) -> Any:
        started = time.monotonic()
        answer = call()
        self.add(name, time.monotonic() - started)
        return answer

    def add(self, name: str, seconds: float) -> None:
        self.seconds.setdefault(name, []).append(seconds)

    def report(self) -> dict[str, dict[str, float]]:
        return {name: _summary(values) for name, values in sorted(self.seconds.items())}


class TimedQueue(SharedQueue):
    """The queue, with the time that observers wait for it."""

    def __init__(self, database: Database, jobs: JobReader, latencies: Latencies) -> None:
        super().__init__(database, jobs, CLUSTER_SLOT)
        self._latencies = latencies

    def progress(self, job_id: str, progress: Progress) -> None:
        self._latencies.timed("progress", partial(super().progress, job_id, progress))

    def stop_requests(self, job_id: str) -> StopRequests:
        asked: StopRequests = self._latencies.timed("stop requests", partial(super().stop_requests, job_id))
        return asked


class Simulation:
    """Some nodes at work on one store."""

    def __init__(self, workspace: Path, nodes: int) -> None:
        self.settings = Settings(workspace=workspace)
        self.settings.make_folders()
        Database.create(self.settings.database)
        database = SerialDatabase(self.settings.database)
        self.jobs = JobReader(database, self.settings)
        self.editor = QueueEditor(Database(self.settings.database), self.jobs)
        self.latencies = Latencies()
        self.queue = TimedQueue(database, self.jobs, self.latencies)
        self.nodes = nodes
        self.idle: SimpleQueue[float] = SimpleQueue()
        """For each node without a clip, since when."""
        self.over = Event()
        self.finished: list[str] = []
        self.running: dict[str, JobObserver] = {}
        self.threads: list[Thread] = []
        self.errors: list[Exception] = []
        """Those of the threads, the first of which ends the measurement."""

    def run(self) -> dict[str, Any]:
        self.editor.submit_many([(demo_request(seed=seed), "") for seed in range(self.nodes * 12)])
        for _ in range(self.nodes):
            self.idle.put(time.monotonic())
        started = time.monotonic()
        self._start(self._claim)
        while len(self.running) < self.nodes and time.monotonic() - started < FILLING_SECONDS and not self.errors:
            time.sleep(0.1)
        filled, busy = time.monotonic() - started, len(self.running)
        self.latencies.seconds.clear()
        done_before, cpu_before, started = len(self.finished), time.process_time(), time.monotonic()
        self._look_on(started + MEASURED_SECONDS)
        seconds, cpu = time.monotonic() - started, time.process_time() - cpu_before
        clips = len(self.finished) - done_before
        report = self.latencies.report()
        self.over.set()
        ending = time.monotonic() + ENDING_SECONDS
        for thread in self.threads:
            thread.join(max(ending - time.monotonic(), 0.0))
        if self.errors:
            raise self.errors[0]
        if len(set(self.finished)) < len(self.finished):
            raise RuntimeError("A clip was made twice.")
        return {
            "nodes": self.nodes,
            "nodes_with_a_clip": busy,
            "seconds_until_all_had_one": round(filled, 2),
            "clips_a_second": round(clips / seconds, 2),
            "processor_seconds_a_second": round(cpu / seconds, 2),
            "latencies": report,
        }

    def _start(self, work: Callable[..., None], *values: Any) -> None:
        """In a thread whose error `run` raises."""

        def guarded() -> None:
            try:
                work(*values)
            except Exception as error:  # noqa: BLE001 - whatever it is, `run` raises it
                self.errors.append(error)
                self.over.set()

        self.threads.append(Thread(target=guarded, daemon=True))
        self.threads[-1].start()

    def _claim(self) -> None:
        """As the dispatcher does: one thread claims for every idle node."""
        while not self.over.is_set():
            try:
                idle_since = self.idle.get(timeout=TICK_SECONDS)
            except Empty:
                continue
            job = self.latencies.timed("claim", partial(self.queue.claim, "demo", {"demo"}))
            if job is None:
                raise RuntimeError("There are too few jobs for this long a measurement.")
            self.latencies.add("node idle", time.monotonic() - idle_since)
            self._start(self._make, job)

    def _make(self, job: Job) -> None:
        """One clip on a simulated node, with the observer that a real one has here."""
        files = JobFiles(self.settings, job)
        observer = JobObserver(self.queue, job.id, files.preview)
        observer.start()
        self.running[job.id] = observer
        self.over.wait(random.uniform(0, STEP_SECONDS))  # nodes are not in step with each other
        for step in range(1, STEPS_A_CLIP + 1):
            if self.over.wait(STEP_SECONDS) or observer.cancelled():
                break
            observer.progress(Progress(Stage.DENOISING, step, STEPS_A_CLIP))
        del self.running[job.id]
        observer.discard()
        if observer.cancelled():
            self.queue.mark_cancelled(job.id)
        elif not self.over.is_set():
            clip = Finished(job.request, files.clip, files.clip, files.clip, "", {"denoising": 1.0})
            self.latencies.timed("finish", partial(self.queue.finish, job.id, clip))
            self.finished.append(job.id)
        observer.close()
        self.idle.put(time.monotonic())

    def _look_on(self, until: float) -> None:
        """What a person does meanwhile: the page asks for the list, and now and then a running clip is cancelled."""
        while time.monotonic() < until and not self.errors:
            self.latencies.timed("list", partial(self.jobs.jobs, limit=50))
            job_id, observer = random.choice(list(self.running.items()))
            started = time.monotonic()
            self.editor.cancel(job_id)
            self.latencies.add("cancel asked", time.monotonic() - started)
            while job_id in self.running and not observer.cancelled() and time.monotonic() < until:
                time.sleep(0.02)
            self.latencies.add("cancel seen", time.monotonic() - started)
            time.sleep(1.0)


def _summary(values: list[float]) -> dict[str, float]:
    high = quantiles(values, n=20, method="inclusive")[-1] if len(values) > 1 else values[0]
    return {
        "count": len(values),
        "median": round(median(values), 4),
        "p95": round(high, 4),
        "max": round(max(values), 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--nodes", type=int, nargs="+", default=NODES)
    options = parser.parse_args()
    rows, load = [], round(psutil.getloadavg()[0], 1)
    for nodes in options.nodes:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            rows.append(Simulation(Path(folder) / "workspace", nodes).run())
        print(json.dumps(rows[-1]), flush=True)
    report = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {"system": f"{platform.system()} {platform.machine()}", "cores": os.cpu_count(), "load": load},
        "versions": {"python": sys.version.split()[0], "sqlite": sqlite3.sqlite_version},
        "step_seconds": STEP_SECONDS,
        "steps_a_clip": STEPS_A_CLIP,
        "limit_seconds": LIMIT_SECONDS,
        "nodes": rows,
        "bends_at": _bends_at(rows),
    }
    if options.output:
        options.output.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def _bends_at(rows: list[dict[str, Any]]) -> int | None:
    """The smallest number of nodes with which anything takes longer than the limit, at its 95th percentile."""
    for row in rows:
        if any(values["p95"] > LIMIT_SECONDS for values in row["latencies"].values()):
            return int(row["nodes"])
    return None


if __name__ == "__main__":
    main()
