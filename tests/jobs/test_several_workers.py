"""Several GPUs: a worker for each slot, which share the queue and settle only what is theirs."""

from __future__ import annotations

import os
import signal
from dataclasses import replace

import pytest

from tests.support.processes.warm import Warm
from tests.support.studios import ENDLESS, QUICK, is_denoising, opened_warm, wait_for
from wan_pipeline.errors import UserError
from wan_pipeline.jobs.job import JobState
from wan_pipeline.jobs.launch import VISIBLE_DEVICES, visible_devices, worker_log
from wan_pipeline.jobs.table.worker_queue import WorkerQueue
from wan_pipeline.jobs.worker.ending import Ending
from wan_pipeline.jobs.worker.worker import Worker
from wan_pipeline.settings import Settings
from wan_pipeline.storage.database import Database
from wan_pipeline.storage.locks import WorkspaceLocks
from wan_pipeline.studio import Studio


@pytest.mark.soak
def test_two_workers_share_the_queue_and_each_is_started_again_alone(settings: Settings, warm: Warm) -> None:
    with opened_warm(replace(settings, devices="0,1"), warm) as studio:
        studio.start()
        ids = [studio.submit(replace(ENDLESS, seed=seed)) for seed in (1, 2)]
        wait_for(lambda: all(is_denoising(studio, job_id) for job_id in ids), "both clips being made")
        of_slot = {studio.jobs.existing(job_id).slot: job_id for job_id in ids}
        assert set(of_slot) == {0, 1}
        killed = studio.jobs.queue_state(1).worker_pid
        assert killed is not None and killed != studio.jobs.queue_state().worker_pid
        os.kill(killed, signal.SIGKILL)
        wait_for(lambda: studio.jobs.existing(of_slot[1]).attempts == 2, "the next try")
        other = studio.jobs.existing(of_slot[0])
        assert (other.state, other.attempts) == (JobState.RUNNING, 1)
        for job_id in ids:
            studio.queue.cancel(job_id)
        wait_for(lambda: studio.jobs.unfinished() == 0, "the end of both")


def test_a_worker_settles_what_dead_ones_left_and_no_other_clip(studio: Studio, settings: Settings) -> None:
    ids = [studio.submit(replace(QUICK, seed=seed)) for seed in range(3)]
    queues = [WorkerQueue(Database(settings.database), studio.jobs, slot) for slot in range(3)]
    assert [queue.claim().id for queue in queues] == ids  # type: ignore[union-attr]
    assert [job.id for job in queues[0].recover({0, 2})] == [ids[0], ids[2]]
    states = [studio.jobs.existing(job_id).state for job_id in ids]
    assert states == [JobState.INTERRUPTED, JobState.RUNNING, JobState.INTERRUPTED]
    assert [studio.jobs.starts(slot) for slot in range(3)] == [1, 1, 1]


def test_a_worker_whose_gpu_computes_a_branch_for_another_leaves_the_clip_and_ends(
    studio: Studio, settings: Settings
) -> None:
    job_id = studio.submit(QUICK)
    second = replace(settings, devices="0,1", slot=1)
    with WorkspaceLocks(settings.workspace).device(1):
        assert Worker(second).run() is Ending.NOTHING_TO_DO
    assert studio.jobs.existing(job_id).state is JobState.QUEUED


def test_a_process_sees_the_gpus_of_its_slot_first() -> None:
    second = Settings(devices="2, 0", slot=1)
    assert visible_devices(second) == {**dict.fromkeys(VISIBLE_DEVICES, "0,2"), "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    assert visible_devices(replace(second, slot=0))["CUDA_VISIBLE_DEVICES"] == "2,0"
    assert visible_devices(Settings()) == {} and list(Settings().slots) == [0]
    assert worker_log(second).name == "worker-1.log"


@pytest.mark.parametrize("text", ["a", "0,0", "0,", "-1"])
def test_gpus_are_numbers(text: str) -> None:
    with pytest.raises(UserError, match="names no GPUs"):
        Settings(devices=text)
