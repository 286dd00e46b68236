"""Verifying for the page: it waits for the queue, gives way to it, and its end is known whatever happens."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from threading import Thread

import psutil
import pytest

from tests.support.hostile import BAD_JSON
from tests.support.observers import Recorder
from tests.support.queues import OpenQueue
from tests.support.soak import first_only
from tests.support.studios import PATIENCE, wait_for, words_of
from wan_pipeline.clips.naming import key_of
from wan_pipeline.errors import UserError
from wan_pipeline.jobs.background.verifications import Verification, Verifications, VerifyState, verify_when_idle
from wan_pipeline.jobs.background.verify import Verdict
from wan_pipeline.jobs.job import JobState
from wan_pipeline.jobs.worker.worker import Worker
from wan_pipeline.progress import Stage
from wan_pipeline.requests.request import Draft
from wan_pipeline.settings import Settings
from wan_pipeline.storage.locks import WorkspaceLocks
from wan_pipeline.studio import Studio

DRAFT = Draft(prompt="the red ball", width=160, height=160, num_frames=5, num_inference_steps=2, seed=1)


@pytest.fixture
def studio(settings: Settings) -> Iterator[Studio]:
    with Studio(replace(settings, checkpoint_seconds=0.0)) as studio:
        yield studio


@pytest.fixture
def clip(studio: Studio) -> Path:
    return studio.in_process.render(DRAFT, None, Recorder()).clip


def state(studio: Studio, clip: Path) -> VerifyState | None:
    verification = studio.verifications.of(clip)
    return verification and verification.state


def in_background(studio: Studio, clip: Path) -> Thread:
    """As in the process of its own, which holds the lock."""

    def run() -> None:
        with WorkspaceLocks(studio.settings.workspace).verifier():
            verify_when_idle(studio.settings, clip)

    thread = Thread(target=run, daemon=True)
    thread.start()
    return thread


def test_nothing_is_known_of_a_clip_that_was_never_verified(studio: Studio, clip: Path) -> None:
    assert studio.verifications.of(clip) is None


@pytest.mark.soak
def test_it_waits_while_the_queue_has_work_and_not_while_it_is_paused(studio: Studio, clip: Path) -> None:
    studio.queue.submit(studio.requests.resolve(DRAFT))
    thread = in_background(studio, clip)
    wait_for(lambda: state(studio, clip) is VerifyState.WAITING, "the verifier waits")
    studio.queue.pause_queue()
    thread.join(PATIENCE)
    assert studio.verifications.of(clip).verdict.identical


@pytest.mark.soak
def test_it_gives_way_to_the_queue_and_goes_on_from_where_it_stood(studio: Studio) -> None:
    clip = studio.in_process.render(replace(DRAFT, num_inference_steps=150), None, Recorder()).clip
    thread = in_background(studio, clip)
    wait_for(
        lambda: (now := studio.verifications.of(clip)) and now.stage is Stage.DENOISING and now.step > 0, "denoising"
    )
    job_id = studio.queue.submit(studio.requests.resolve(DRAFT))
    job = OpenQueue(studio.settings.database).worker.claim()
    wait_for(lambda: state(studio, clip) is VerifyState.WAITING, "the verifier gives way")
    kept = list((studio.settings.cache / "verified").glob("*.safetensors"))
    assert job is not None and job.id == job_id and len(kept) == 1
    OpenQueue(studio.settings.database).worker.fail(job_id, "a test ends it")
    thread.join(PATIENCE)
    end = studio.verifications.of(clip)
    assert end.is_over and end.verdict.identical
    assert list((studio.settings.cache / "verified").glob("*.safetensors")) == []


def test_what_cannot_be_verified_ends_in_a_sentence(studio: Studio, clip: Path) -> None:
    clip.write_bytes(b"no video")
    end = verify_when_idle(studio.settings, clip)
    assert (end.state, studio.verifications.of(clip)) == (VerifyState.FAILED, end)
    assert "cannot be read" in str(end.error)


@pytest.mark.soak
def test_in_a_process_of_its_own_one_at_a_time(studio: Studio, clip: Path) -> None:
    studio.queue.submit(studio.requests.resolve(DRAFT))  # so that it waits
    studio.verifications.start(clip)
    assert state(studio, clip) is VerifyState.WAITING
    with pytest.raises(UserError, match="Another clip is being verified"):
        studio.verifications.start(clip)
    with Studio(studio.settings) as other:
        wait_for(lambda: state(other, clip) is VerifyState.WAITING, "another app sees it, by its lock")
        studio.queue.pause_queue()
        wait_for(lambda: (now := other.verifications.of(clip)) and now.is_over, "the verdict")
        assert other.verifications.of(clip).verdict.identical


@pytest.mark.soak  # two more processes that import torch
def test_one_that_was_killed_has_failed(studio: Studio, clip: Path) -> None:
    studio.queue.submit(studio.requests.resolve(DRAFT))
    studio.verifications.start(clip)
    verifying = lambda: [child for child in psutil.Process().children() if str(clip) in words_of(child)]  # noqa: E731
    wait_for(verifying, "the process to be what it is started as")
    verifying()[0].kill()
    wait_for(lambda: state(studio, clip) is VerifyState.FAILED, "the end")
    assert "verify.log" in str(studio.verifications.of(clip).error)
    studio.queue.pause_queue()
    studio.verifications.start(clip)
    wait_for(lambda: studio.verifications.of(clip).is_over, "the verdict")
    assert studio.verifications.of(clip).verdict.identical


def test_the_worker_takes_a_job_and_waits_until_the_verifier_lets_the_device_go(studio: Studio) -> None:
    worker, job_id = Worker(studio.settings), studio.queue.submit(studio.requests.resolve(DRAFT))
    with WorkspaceLocks(studio.settings.workspace).device():
        thread = Thread(target=worker.run, daemon=True)
        thread.start()
        wait_for(lambda: studio.jobs.job(job_id).state is JobState.RUNNING, "the worker has the job")
        assert worker._engine is None
    thread.join(PATIENCE)
    assert studio.jobs.job(job_id).state is JobState.DONE


@pytest.mark.parametrize("who", first_only(["trainer", "clip_work"]))
def test_an_idle_worker_leaves_the_memory_to_others(studio: Studio, who: str) -> None:
    locks, worker = WorkspaceLocks(studio.settings.workspace), Worker(studio.settings)
    job_id = studio.queue.submit(studio.requests.resolve(DRAFT))
    with locks.app():
        thread = Thread(target=worker.run, daemon=True)
        thread.start()
        wait_for(lambda: studio.jobs.job(job_id).state is JobState.DONE, "the clip")
        assert worker._engine._holder.loaded is not None
        with getattr(locks, who)():
            wait_for(lambda: worker._engine._holder.loaded is None, "the model is let go")
        again = studio.queue.submit(studio.requests.resolve(DRAFT))
        wait_for(lambda: studio.jobs.job(again).state is JobState.DONE, "the next clip")
    thread.join(PATIENCE)
    assert studio.jobs.job(again).frames_sha256 == studio.jobs.job(job_id).frames_sha256


@pytest.mark.soak
def test_a_damaged_note_of_it_counts_as_none(studio: Studio, clip: Path) -> None:
    verify_when_idle(studio.settings, clip)
    note = studio.settings.cache / "verified" / f"{key_of(clip, studio.settings.clips)}.json"
    for text in ("{", "[]", '{"state": "dancing"}'):
        note.write_text(text, encoding="utf-8")
        assert studio.verifications.of(clip) is None


def test_a_state_of_an_older_version_is_read(settings: Settings) -> None:
    clip = settings.clips / "clip.mp4"
    note = settings.cache / "verified" / f"{key_of(clip, settings.clips)}.json"
    note.parent.mkdir()
    verdict = {"identical": False, "frames_sha256": "0", "expected_sha256": "1", "psnr_db": 41.3, "differences": ["x"]}
    facts = {"state": "done", "stage": "queued", "step": 0, "total": 0, "error": None, "verdict": verdict}
    note.write_text(json.dumps(facts), encoding="utf-8")
    found = Verifications(settings).of(clip)
    assert found == Verification(VerifyState.DONE, verdict=Verdict(False, "0", "1", 41.3, ("x",)))


@pytest.mark.parametrize("text", BAD_JSON.values(), ids=BAD_JSON)
def test_a_hostile_state_counts_as_none(settings: Settings, text: bytes) -> None:
    clip = settings.clips / "clip.mp4"
    note = settings.cache / "verified" / f"{key_of(clip, settings.clips)}.json"
    note.parent.mkdir()
    note.write_bytes(text)
    assert Verifications(settings).of(clip) is None


def test_clips_of_one_name_in_two_folders_have_a_state_each(settings: Settings) -> None:
    one, two = (settings.clips / scene / "010_001.mp4" for scene in "12")
    note = settings.cache / "verified" / f"{key_of(one, settings.clips)}.json"
    note.parent.mkdir()
    note.write_text('{"state": "done"}', encoding="utf-8")
    verifications = Verifications(settings)
    assert verifications.of(one) == Verification(VerifyState.DONE) and verifications.of(two) is None
