"""The worker on a tiny real model, in this process."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl_wan import WanDecoder3d, WanEncoder3d
from diffusers.models.transformers.transformer_wan import WanTransformerBlock
from transformers import UMT5EncoderModel

from tests.support.faults.shortage import ALWAYS, no_room_for
from tests.support.queues import OpenQueue
from tests.support.requests import Silence
from tests.support.studios import PATIENCE, QUICK, finish, leftovers
from wan_pipeline.clips.naming import receipt_path
from wan_pipeline.clips.receipt import load_receipt
from wan_pipeline.engine import engine as engine_module
from wan_pipeline.engine import text as text_module
from wan_pipeline.jobs.job import EventKind, Job, JobState
from wan_pipeline.jobs.log import JobLogs
from wan_pipeline.jobs.worker.ending import Ending
from wan_pipeline.jobs.worker.observer import JobObserver
from wan_pipeline.jobs.worker.worker import Worker
from wan_pipeline.planning.memory_plan import read_plan
from wan_pipeline.progress import Progress, Stage
from wan_pipeline.settings import REPOSITORY, Settings
from wan_pipeline.storage.locks import WorkspaceLocks
from wan_pipeline.studio import Studio


def kinds(studio: Studio, job: Job) -> list[EventKind]:
    return [event.kind for event in studio.jobs.events(job.id)]


def test_the_queue_is_worked_off_and_the_worker_ends(studio: Studio, settings: Settings) -> None:
    first, second = finish(studio, settings, QUICK, replace(QUICK, seed=5))
    for job in (first, second):
        assert (job.state, job.error, job.attempts) == (JobState.DONE, None, 1)
        assert job.clip and job.clip.is_file()
        assert job.poster and job.poster.is_file()
        assert {stage.value for stage in Stage} - {"queued"} == set(job.seconds)
        receipt = load_receipt(job.clip)
        assert (receipt.request, receipt.frames_sha256, receipt.job) == (job.request, job.frames_sha256, job.id)
    assert first.frames_sha256 != second.frames_sha256
    assert leftovers(settings) == [".json"] * 2 + [".latents"] * 2 + [".mp4"] * 2 + [".webp"] * 2
    assert list(settings.previews.iterdir()) == list(settings.job_logs.iterdir()) == []
    assert not WorkspaceLocks(settings.workspace).worker_is_alive()


@pytest.mark.soak
def test_the_same_seed_gives_the_same_clip_in_the_queue_and_now(studio: Studio, settings: Settings) -> None:
    (job,) = finish(studio, settings, QUICK)
    now = studio.in_process.render(QUICK, settings.workspace / "now.mp4", Silence())
    assert now.frames_sha256 == job.frames_sha256
    again = studio.drafts.of_job(job.id)
    assert studio.requests.resolve(again) == job.request


def test_a_clip_is_saved_while_the_next_is_made(studio: Studio, settings: Settings) -> None:
    jobs = finish(studio, settings, *(replace(QUICK, seed=seed) for seed in range(6)))
    overlaps = [later.started_at < earlier.finished_at for earlier, later in pairwise(jobs)]
    assert all(overlaps)
    assert [job.state for job in jobs] == [JobState.DONE] * 6


def test_prompts_of_waiting_jobs_are_encoded_by_one_load_of_the_text_encoder(
    studio: Studio, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads: list[str] = []
    load = text_module.load_text_encoder
    monkeypatch.setattr(text_module, "load_text_encoder", lambda model, *rest: loads.append("") or load(model, *rest))
    jobs = finish(studio, settings, *(replace(QUICK, prompt=f"{color} moon") for color in ("red", "blue", "over")))
    assert [job.state for job in jobs] == [JobState.DONE] * 3
    assert len(loads) == 1


def test_a_cancel_is_heard_between_two_texts_that_are_encoded_ahead(
    studio: Studio, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What has been encoded by then is kept for the jobs that wait."""
    ids = [studio.submit(replace(QUICK, prompt=f"{color} moon", guidance_scale=1.0)) for color in ("red", "blue", "a")]
    report = JobObserver.progress

    def cancel(observer: JobObserver, progress: Progress) -> None:
        report(observer, progress)
        if (progress.stage, progress.step, progress.total) == (Stage.ENCODING_TEXT, 2, 3):
            studio.queue.cancel(ids[0])
            observer._check_cancel_request()

    with monkeypatch.context() as cancelling:
        cancelling.setattr(JobObserver, "progress", cancel)
        Worker(settings).run()
    assert [studio.jobs.job(job_id).state for job_id in ids] == [JobState.CANCELLED, JobState.DONE, JobState.DONE]
    assert len(list((settings.cache / "prompts").iterdir())) == 3


def test_a_job_that_fails_does_not_hold_the_next_up(studio: Studio, settings: Settings, tiny_demo: Any) -> None:
    """The weights vanish between submit and start."""
    broken = replace(settings, demo_checkpoint=settings.workspace / "copy")
    shutil.copytree(tiny_demo, broken.demo_checkpoint)
    shutil.rmtree(broken.demo_checkpoint / "transformer")
    (failed,) = finish(studio, broken, QUICK)
    assert failed.state is JobState.FAILED
    assert "transformer" in (failed.error or "")
    assert "transformer" in JobLogs(settings.job_logs).excerpt(failed.id)
    (done,) = finish(studio, settings, QUICK)
    assert done.state is JobState.DONE


def test_after_a_fault_nobody_thought_of_the_queue_goes_on_in_a_fresh_process(
    studio: Studio, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A device that has failed once fails for the rest of the process: the next jobs shall not burn with it."""
    failed, waiting = studio.submit(QUICK), studio.submit(replace(QUICK, seed=2))
    with monkeypatch.context() as broken:
        broken.setattr(engine_module, "sample", lambda *_: torch.zeros(2) @ torch.zeros(3))
        assert Worker(settings).run() is Ending.FRESH_PROCESS
    assert studio.jobs.job(failed).state is JobState.FAILED
    assert f"logs/jobs/{failed}.log" in studio.jobs.job(failed).error
    assert "Traceback" in JobLogs(settings.job_logs).excerpt(failed)
    assert studio.jobs.job(waiting).state is JobState.QUEUED
    assert Worker(settings).run() is Ending.NOTHING_TO_DO
    assert studio.jobs.job(waiting).state is JobState.DONE


# Memory runs out


STAGES = {
    Stage.ENCODING_TEXT: UMT5EncoderModel,
    Stage.LOADING: WanEncoder3d,  # for the colours of previews
    Stage.DENOISING: WanTransformerBlock,
    Stage.DECODING: WanDecoder3d,
}
"""A module that computes in each stage, and in no other."""
WIDE = replace(QUICK, width=320)
"""So wide that there is a smaller plan: to decode it in tiles."""


@pytest.mark.parametrize("stage", STAGES)
def test_out_of_memory_in_any_stage_goes_one_plan_down_in_a_fresh_process(
    studio: Studio, settings: Settings, stage: Stage
) -> None:
    shutil.rmtree(settings.cache / "previews")  # so that it is fitted to the VAE anew
    job_id = studio.submit(WIDE)
    waiting = studio.submit(replace(QUICK, seed=2))
    with no_room_for(STAGES[stage]):
        assert Worker(settings).run() is Ending.FRESH_PROCESS
        job = studio.jobs.job(job_id)
        assert (job.state, job.plan_steps_down) == (JobState.INTERRUPTED, 1)
        assert read_plan(job.plan).tile
        assert studio.jobs.job(waiting).state is JobState.QUEUED
        assert Worker(settings).run() is Ending.NOTHING_TO_DO
    lowered, other = studio.jobs.job(job_id), studio.jobs.job(waiting)
    assert (lowered.state, lowered.plan, lowered.plan_steps_down) == (JobState.DONE, job.plan, 1)
    assert load_receipt(lowered.clip).provenance.plan == job.plan
    expected = [EventKind.SUBMITTED, EventKind.STARTED, EventKind.PLAN_LOWERED, EventKind.STARTED, EventKind.DONE]
    assert kinds(studio, lowered) == expected
    assert (other.state, other.plan, other.plan_steps_down) == (JobState.DONE, "", 0)
    assert load_receipt(other.clip).provenance.plan == "resident,fp32,text=cpu"


def test_out_of_memory_with_the_smallest_plan_fails_the_job_and_the_next_one_runs(
    studio: Studio, settings: Settings
) -> None:
    job_id = studio.submit(WIDE)
    with no_room_for(WanTransformerBlock, ALWAYS):
        endings = [Worker(settings).run() for _ in range(3)]
    assert endings == [Ending.FRESH_PROCESS, Ending.FRESH_PROCESS, Ending.NOTHING_TO_DO]
    job = studio.jobs.job(job_id)
    assert (job.state, job.plan_steps_down) == (JobState.FAILED, 1)
    assert "ran out of memory; choose a smaller size or fewer frames" in job.error
    (other,) = finish(studio, settings, replace(QUICK, seed=2))
    assert other.state is JobState.DONE


def test_a_cached_clip_says_that_it_lost_steps_however_it_was_put_back(studio: Studio, settings: Settings) -> None:
    """It keeps no checkpoint. One whose worker died before its first step has lost nothing."""
    cached = replace(QUICK, cache="taylorseer", num_inference_steps=8)
    paused, unlucky = studio.submit(cached), studio.submit(replace(cached, seed=2))
    queue = OpenQueue(settings.database).worker
    queue.claim()
    queue.progress(paused, Progress(Stage.DENOISING, 3, 8))
    assert queue.release(paused)
    assert studio.jobs.events(paused)[-1].detail == "after denoising began, at step 3 of 8"
    studio.queue.pause(paused)
    queue.claim()
    queue.recover()
    studio.queue.unpause(paused)
    assert Worker(settings).run() is Ending.NOTHING_TO_DO
    told = ["from its first step" in " ".join(studio.jobs.job(job_id).warnings) for job_id in (paused, unlucky)]
    assert told == [True, False] and studio.jobs.job(unlucky).attempts == 2
    assert not queue.has_lost_steps(unlucky)


# What a dead worker has left


def test_what_a_dead_worker_left_half_written_is_removed(studio: Studio, settings: Settings) -> None:
    queue = OpenQueue(settings.database)
    job_id = studio.submit(QUICK)
    queue.worker.claim()
    queue.editor.cancel(job_id)
    (settings.clips / f"2026-11-22_a-red-ball_seed1_{job_id[:8]}.mp4.0badcafe.part").write_bytes(b"half")
    (settings.clips / "somebody-elses.mp4.0badcafe.part").write_bytes(b"half")
    settings.checkpoints.mkdir(exist_ok=True)
    (settings.checkpoints / f"{job_id}.safetensors").write_bytes(b"half")
    for name in (f"{job_id}.webp", f"{job_id}.webp.0badcafe.part"):
        (settings.previews / name).write_bytes(b"half")
    Worker(settings).run()
    assert [path.name for path in settings.clips.iterdir()] == ["somebody-elses.mp4.0badcafe.part"]
    assert list(settings.previews.iterdir()) == list(settings.checkpoints.iterdir()) == []
    assert studio.jobs.job(job_id).state is JobState.CANCELLED


@pytest.mark.parametrize("state", ["running", "queued", "interrupted"])
def test_a_clip_that_lacks_only_its_row_gets_it(studio: Studio, settings: Settings, state: str) -> None:
    """The worker died between the last file and the row, or the row is from a backup: the clip is not made again."""
    (made,) = finish(studio, settings, QUICK)
    written = made.clip.stat().st_mtime_ns
    with sqlite3.connect(settings.database) as connection:
        connection.execute("UPDATE jobs SET state = ?, attempts = 2, clip = NULL, frames_sha256 = NULL", (state,))
    Worker(settings).run()
    job = studio.jobs.job(made.id)
    assert (job.state, job.clip, job.poster, job.frames_sha256) == (
        made.state,
        made.clip,
        made.poster,
        made.frames_sha256,
    )
    assert job.clip.stat().st_mtime_ns == written
    assert kinds(studio, job)[-1] is EventKind.ADOPTED


def test_a_clip_of_other_settings_is_not_adopted(studio: Studio, settings: Settings) -> None:
    """A waiting job may be edited: what it made before is not what is asked for now."""
    (made,) = finish(studio, settings, QUICK)
    other = replace(made.request, guidance_scale=1.5)
    with sqlite3.connect(settings.database) as connection:
        connection.execute("UPDATE jobs SET state = 'queued', clip = NULL, request = ?", (other.to_json(),))
    Worker(settings).run()
    job = studio.jobs.job(made.id)
    assert kinds(studio, job)[-1] is EventKind.DONE
    assert job.frames_sha256 != made.frames_sha256
    assert leftovers(settings) == [".json", ".latents", ".mp4", ".webp"]


def test_a_clip_without_its_receipt_is_made_again(studio: Studio, settings: Settings) -> None:
    (made,) = finish(studio, settings, QUICK)
    receipt_path(made.clip).unlink()
    with sqlite3.connect(settings.database) as connection:
        connection.execute("UPDATE jobs SET state = 'running', clip = NULL")
    Worker(settings).run()
    assert (studio.jobs.job(made.id).state, studio.jobs.job(made.id).attempts) == (JobState.DONE, 2)
    assert leftovers(settings) == [".json", ".latents", ".mp4", ".webp"]


@pytest.mark.soak
def test_a_second_worker_leaves_the_queue_to_the_first(studio: Studio, settings: Settings) -> None:
    job_id = studio.submit(QUICK)
    lock = WorkspaceLocks(settings.workspace).worker()
    with lock:
        command = [sys.executable, "-m", "wan_pipeline.jobs.worker", "--workspace", str(settings.workspace)]
        subprocess.run(command, cwd=REPOSITORY, check=True, timeout=PATIENCE)
    assert studio.jobs.active()[0].id == job_id


# The person decides


def test_a_paused_queue_takes_up_nothing(studio: Studio, settings: Settings) -> None:
    studio.queue.pause_queue()
    (job,) = finish(studio, settings, QUICK)
    assert (job.state, job.attempts) == (JobState.QUEUED, 0)
    studio.queue.resume_queue()
    Worker(settings).run()
    assert studio.jobs.job(job.id).state is JobState.DONE


def test_stop_after_this_one_lets_this_one_be_finished(
    studio: Studio, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked for while the first clip is made."""
    decode = engine_module.decode
    asked = lambda *given: studio.queue.stop_after_current() or decode(*given)  # noqa: E731
    monkeypatch.setattr(engine_module, "decode", asked)
    first, second = finish(studio, settings, QUICK, replace(QUICK, seed=2))
    assert (first.state, second.state) == (JobState.DONE, JobState.QUEUED)
    assert studio.jobs.queue_state().paused
