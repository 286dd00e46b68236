"""The process that trains while the queue is idle: one stint of one training, then it ends.

`python -m wan_pipeline.jobs.training.process --workspace DIR`. One per workspace, by a lock of the operating system.
A stint that yields to the queue ends with the process, so that all memory of the device and the machine is free; the
app starts the next when the queue is idle again.
"""

from __future__ import annotations

import faulthandler
import signal
from threading import Event
from types import FrameType

import psutil
from filelock import Timeout

from wan_pipeline.jobs.background.process import run_alone
from wan_pipeline.jobs.launch import settings_of, settings_parser
from wan_pipeline.jobs.table.reader import JobReader
from wan_pipeline.jobs.training.job import TrainingState
from wan_pipeline.jobs.training.stint import Stint
from wan_pipeline.jobs.training.trainer_queue import TrainerQueue
from wan_pipeline.jobs.training.trainings import Trainings
from wan_pipeline.models.library import ModelLibrary
from wan_pipeline.settings import Settings
from wan_pipeline.storage.database import Database
from wan_pipeline.storage.locks import WorkspaceLocks, any_is_held

MODULE = "wan_pipeline.jobs.training.process"


def device_is_wanted(jobs: JobReader, locks: WorkspaceLocks) -> bool:
    """Whether a clip is rendered, or will be at once, or a person waits for other work on the device: trainings yield
    to all of it.
    """
    return jobs.will_render() or any_is_held(locks.short_guests())


def train_next(settings: Settings, stopping: Event | None = None) -> TrainingState | None:
    """Work on the next training until it ends or yields, and return its state then; None if there was none.

    For the holder of the trainer's lock. It also stops, with its state saved, when `stopping` is set. Raises
    StorageError when the database cannot be used.
    """
    database, locks = Database(settings.database), WorkspaceLocks(settings.workspace)
    jobs, queue = JobReader(database, settings), TrainerQueue(database)
    trainings = Trainings(database, settings, ModelLibrary(settings))
    stopping = stopping or Event()
    if device_is_wanted(jobs, locks) or (job := queue.claim()) is None:
        return None
    try:
        with locks.device():
            stint = Stint(job, settings, queue, trainings, lambda: stopping.is_set() or device_is_wanted(jobs, locks))
            stint.run()
    except Timeout:
        queue.pause(job.id)
    ended = trainings.job(job.id)
    return ended.state if ended else None


def main(arguments: list[str] | None = None) -> None:
    settings = settings_of(settings_parser(MODULE, "Train LoRAs while the queue is idle.").parse_args(arguments))
    faulthandler.enable()
    psutil.Process().nice(psutil.BELOW_NORMAL_PRIORITY_CLASS if psutil.WINDOWS else 10)
    stopping = Event()

    def stop(number: int, frame: FrameType | None) -> None:
        stopping.set()

    signal.signal(signal.SIGTERM, stop)
    run_alone(WorkspaceLocks(settings.workspace).trainer(), lambda: train_next(settings, stopping), "train")


if __name__ == "__main__":
    main()
