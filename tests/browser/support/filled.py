"""A workspace that has a bit of everything, written without rendering: clips, and a job in each state."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.support.queues import OpenQueue
from tests.support.requests import make_request
from wan_pipeline.access.keys import Keys
from wan_pipeline.access.roles import Role
from wan_pipeline.clips.encode import encode
from wan_pipeline.clips.naming import poster_path
from wan_pipeline.clips.poster import write_poster
from wan_pipeline.clips.provenance import Provenance
from wan_pipeline.clips.receipt import Receipt, write_receipt
from wan_pipeline.jobs.job import Finished, JobState, NewJob
from wan_pipeline.progress import Progress, Stage
from wan_pipeline.requests.request import GenerationRequest
from wan_pipeline.storage.database import Database

FRAMES = np.linspace(0, 255, 17 * 96 * 160 * 3).reshape(17, 96, 160, 3).astype(np.uint8)
HASH = "a" * 64


@dataclass(frozen=True)
class Filled:
    """What is in the workspace. The queue is paused, so that all stays as it is."""

    queue: OpenQueue
    jobs: dict[JobState, str]
    """One job of each state, by its id."""
    secret: str
    """Of the key of a guest who has made a clip, and has another one waiting."""


def fill(workspace: Path) -> Filled:
    database = Database.create(workspace / "studio.sqlite3")
    queue = OpenQueue(workspace / "studio.sqlite3")
    queue.editor.pause_queue()
    secret, guest = Keys(database).create(Role.MAKE)
    for seed, made_by in ((1, ""), (2, ""), (3, guest.id)):
        adopt(queue, workspace / "clips", make_request(prompt=f"a red ball, take {seed}", seed=seed), made_by)
    jobs = {state: _in_state(queue, database, state) for state in JobState if state is not JobState.DONE}
    queue.editor.submit_many([NewJob(make_request(prompt="a guest's ball"), made_by=guest.id)])
    jobs[JobState.DONE] = queue.jobs.jobs((JobState.DONE,), limit=1)[0].id
    return Filled(queue, jobs, secret)


def empty(filled: Filled) -> None:
    """Leave nothing that waits, and let the queue go on."""
    filled.queue.worker.mark_cancelled(filled.jobs[JobState.RUNNING])
    filled.queue.editor.cancel_all()
    filled.queue.editor.clear_finished()
    filled.queue.editor.resume_queue()


def adopt(queue: OpenQueue, folder: Path, request: GenerationRequest, made_by: str = "") -> str:
    """A clip as the worker leaves one. Returns its id. The queue is to be paused."""
    job_id = queue.editor.submit_many([NewJob(request, made_by=made_by)])[0]
    clip = folder / f"filled-{request.seed}.mp4"
    receipt = Receipt(request, HASH, Provenance(model="demo"), job=job_id, made_by=made_by)
    encode(FRAMES, request.fps, clip, receipt.to_dict())
    write_poster(FRAMES, poster_path(clip))
    warnings = ("The LoRA 'gone' was left out.",)
    seconds = {Stage.DENOISING: 2.0}
    queue.worker.adopt(
        job_id, Finished(request, clip, poster_path(clip), write_receipt(receipt, clip), HASH, seconds, warnings)
    )
    return job_id


def _in_state(queue: OpenQueue, database: Database, state: JobState) -> str:
    """A job that has come to be in this state, as far as its row tells."""
    request = make_request(prompt=f"a ball that is {state}", preset="noir")
    job_id = queue.editor.submit(request, project="Film")
    with database.transaction() as connection:
        connection.execute("UPDATE jobs SET state = ?, attempts = 2 WHERE id = ?", (JobState.RUNNING, job_id))
    match state:
        case JobState.FAILED:
            queue.worker.fail(job_id, "There is no LoRA 'gone'.")
        case JobState.CANCELLED:
            queue.worker.mark_cancelled(job_id)
        case JobState.RUNNING:
            queue.worker.progress(job_id, Progress(Stage.DENOISING, 3, 16, 12.0))
        case _:
            with database.transaction() as connection:
                connection.execute("UPDATE jobs SET state = ? WHERE id = ?", (state, job_id))
    return job_id
