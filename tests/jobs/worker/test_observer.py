"""Progress reaches the queue without holding the engine up."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.faults.disks import small_disk
from tests.support.queues import OpenQueue
from tests.support.requests import make_request
from wan_pipeline.jobs.job import EventKind
from wan_pipeline.jobs.worker.observer import INTERVAL_SECONDS, JobObserver
from wan_pipeline.progress import Progress, Stage


@pytest.fixture
def queue(tmp_path: Path) -> OpenQueue:
    return OpenQueue(tmp_path / "studio.sqlite3")


@pytest.fixture
def job_id(queue: OpenQueue) -> str:
    job_id = queue.editor.submit(make_request())
    queue.worker.claim()
    return job_id


@contextmanager
def observing(
    queue: OpenQueue, job_id: str, preview: Path, on_activity: Callable[[], None] | None = None
) -> Iterator[JobObserver]:
    observer = JobObserver(queue.worker, job_id, preview, on_activity)
    observer.start()
    with closing(observer):
        yield observer


def picture(value: int) -> np.ndarray:
    """Three frames, which differ: WebP joins equal ones."""
    frames = np.full((3, 48, 80, 3), value, np.uint8)
    frames[1:, 20:] += np.array([20, 40], np.uint8)[:, None, None, None]
    return frames


def red_of(path: Path) -> int:
    with Image.open(path) as image:
        assert image.n_frames == 3
        return image.convert("RGB").getpixel((9, 9))[0]


def wait_for(condition: object, seconds: float = 10.0) -> None:
    """Until `condition()` holds; fails the test when it does not come true."""
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.01)


def test_the_last_word_is_always_written(queue: OpenQueue, job_id: str, tmp_path: Path) -> None:
    with observing(queue, job_id, tmp_path / "p.webp") as observer:
        for step in range(500):
            observer.progress(Progress(Stage.DENOISING, step + 1, 500, 1.0))
    job = queue.jobs.job(job_id)
    assert (job.stage, job.step, job.total) == (Stage.DENOISING, 500, 500)


def test_a_burst_costs_the_engine_nothing(
    queue: OpenQueue, job_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1000 reports with pictures, of which a handful is written."""
    frames, written = picture(9), []
    monkeypatch.setattr("wan_pipeline.jobs.worker.observer.write_preview", lambda *picture: written.append(picture))
    with observing(queue, job_id, tmp_path / "p.webp") as observer:
        started = time.monotonic()
        for step in range(1000):
            observer.progress(Progress(Stage.DENOISING, step, 1000, preview=frames))
        seconds = time.monotonic() - started
        wait_for(lambda: queue.jobs.job(job_id).step == 999)
        assert len(written) <= seconds / INTERVAL_SECONDS + 2
    assert seconds < 1.0


def test_previews_are_shown_and_cleared(queue: OpenQueue, job_id: str, tmp_path: Path) -> None:
    path = tmp_path / "p.webp"
    with observing(queue, job_id, path) as observer:
        observer.progress(Progress(Stage.LOADING))
        wait_for(lambda: queue.jobs.job(job_id).stage is Stage.LOADING)
        assert not path.exists()
        for value in (40, 200):
            observer.progress(Progress(Stage.DENOISING, 1, 9, preview=picture(value)))
            observer.progress(Progress(Stage.DECODING))  # must not swallow the picture before it
            wait_for(lambda value=value: path.exists() and abs(red_of(path) - value) < 8)
        wait_for(lambda: queue.jobs.job(job_id).stage is Stage.DECODING)
    assert not path.exists()


def test_cancel_is_seen_soon(queue: OpenQueue, job_id: str, tmp_path: Path) -> None:
    with observing(queue, job_id, tmp_path / "p.webp") as observer:
        assert not observer.cancelled()
        OpenQueue(tmp_path / "studio.sqlite3").editor.cancel(job_id)
        wait_for(observer.cancelled)


def test_a_preview_that_cannot_be_made_hides_neither_progress_nor_a_cancel(
    queue: OpenQueue, job_id: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    no_picture = np.zeros((0, 48, 80, 3), np.uint8)  # Pillow raises no StorageError for it
    with observing(queue, job_id, tmp_path / "p.webp") as observer:
        observer.progress(Progress(Stage.DENOISING, 1, 9, preview=no_picture))
        wait_for(lambda: queue.jobs.existing(job_id).step == 1)
        assert "preview of job" in caplog.text
        queue.editor.cancel(job_id)
        wait_for(observer.cancelled)


def test_a_cancel_from_before_the_start_is_seen_at_once(queue: OpenQueue, job_id: str, tmp_path: Path) -> None:
    queue.editor.cancel(job_id)
    with observing(queue, job_id, tmp_path / "p.webp") as observer:
        assert observer.cancelled()


def test_a_locked_database_neither_stops_nor_delays_the_engine(
    queue: OpenQueue, job_id: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A backup program holds the file: the job goes on, and is not taken for cancelled."""
    monkeypatch.setattr("wan_pipeline.storage.database.BUSY_SECONDS", 0.2)
    other = sqlite3.connect(tmp_path / "studio.sqlite3", isolation_level=None)
    with closing(other), observing(queue, job_id, tmp_path / "p.webp") as observer:
        other.execute("BEGIN EXCLUSIVE")
        started = time.monotonic()
        observer.progress(Progress(Stage.DENOISING, 1, 2))
        assert not observer.cancelled()
        assert time.monotonic() - started < 0.1
        wait_for(lambda: "is to stop could not be read" in caplog.text and "could not be written" in caplog.text)
        other.execute("ROLLBACK")
        observer.progress(Progress(Stage.DENOISING, 2, 2))
    assert queue.jobs.job(job_id).step == 2


@pytest.mark.parametrize(("first", "told"), [(0, []), (7, ["from step 7"])])
def test_a_resumed_job_says_so_once(queue: OpenQueue, job_id: str, tmp_path: Path, first: int, told: list[str]) -> None:
    with observing(queue, job_id, tmp_path / "p.webp") as observer:
        observer.progress(Progress(Stage.LOADING))
        for step in range(first, 10):
            observer.progress(Progress(Stage.DENOISING, step, 10))
            wait_for(lambda step=step: queue.jobs.job(job_id).step == step)
    assert [event.detail for event in queue.jobs.events(job_id) if event.kind is EventKind.RESUMED] == told
    assert queue.jobs.job(job_id).resumed_from == first


def test_every_report_is_a_sign_of_life(queue: OpenQueue, job_id: str, tmp_path: Path) -> None:
    stirs: list[int] = []
    with observing(queue, job_id, tmp_path / "p.webp", lambda: stirs.append(1)) as observer:
        observer.progress(Progress(Stage.LOADING))
        observer.progress(Progress(Stage.SAVING))
    assert len(stirs) == 2


def test_a_full_disk_does_not_stop_the_job(
    queue: OpenQueue, job_id: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with small_disk(tmp_path / "disk", "4k") as disk, observing(queue, job_id, disk / "p.webp") as observer:
        noise = np.random.default_rng(0).integers(0, 255, (5, 96, 96, 3), dtype=np.uint8)
        observer.progress(Progress(Stage.DENOISING, 1, 2, preview=noise))
        wait_for(lambda: "could not be written" in caplog.text)
        observer.progress(Progress(Stage.DENOISING, 2, 2))
        wait_for(lambda: queue.jobs.job(job_id).step == 2)
