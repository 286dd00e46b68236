"""A project with shots and finished takes, written without rendering."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tests.support.requests import make_request
from wan_pipeline.clips.encode import encode
from wan_pipeline.clips.naming import poster_path
from wan_pipeline.clips.poster import write_poster
from wan_pipeline.clips.provenance import Provenance
from wan_pipeline.clips.receipt import Receipt, write_receipt
from wan_pipeline.jobs.job import Finished, Links, NewJob
from wan_pipeline.jobs.table.reader import JobReader
from wan_pipeline.jobs.table.worker_queue import WorkerQueue
from wan_pipeline.progress import Stage
from wan_pipeline.projects.project import FinalProfile, Profile, Project
from wan_pipeline.projects.shots.shot import NewShot, Shot
from wan_pipeline.requests.request import GenerationRequest
from wan_pipeline.storage.database import Database
from wan_pipeline.studio import Studio

HASH = "a" * 64
FPS = 8


def moving(seed: int, count: int = 9, height: int = 96, width: int = 160) -> NDArray[np.uint8]:
    """(T, H, W, 3) frames of a square that moves over a ground, in colours of the seed."""
    random = np.random.default_rng(seed)
    frames = np.empty((count, height, width, 3), np.uint8)
    frames[:] = random.integers(60, 200, 3)
    colour = random.integers(0, 255, 3)
    for number, frame in enumerate(frames):
        x = 8 + number * (width - 56) // count
        frame[height // 3 : height // 3 + 40, x : x + 40] = colour
    return frames


def with_profiles(project: Project, draft_height: int, final_steps: int) -> Project:
    """The project with a profile for drafts of one step and another height, and with one for finals."""
    draft = Profile(num_inference_steps=1, width=160, height=draft_height)
    return replace(project, draft=draft, final=FinalProfile(num_inference_steps=final_steps))


def make_shots(studio: Studio, project: str, count: int) -> list[Shot]:
    """Shots 010, 020 … of scene 1."""
    new = [NewShot(f"{n * 10:03}", "1", f"a red ball, number {n}") for n in range(1, count + 1)]
    return studio.shots.ensure(project, new)


def adopt_take(studio: Studio, shot: Shot | None, request: GenerationRequest | None = None, final_of: str = "",
               project: str = "") -> str:  # fmt: skip
    """A finished take as the worker leaves one. Returns its id."""
    request = request or make_request(width=160, height=96, num_frames=9, fps=FPS)
    links = Links(shot.number if shot else 0, 0, final_of)
    job_id = studio.queue.submit_many([NewJob(request, shot.project if shot else project, links=links)])[0]
    clip = studio.settings.clips / f"{job_id}.mp4"
    receipt = Receipt(request, HASH, Provenance(model="demo"), job=job_id, project=shot.project if shot else project)
    frames = moving(request.seed, request.num_frames, request.height, request.width)
    encode(frames, request.fps, clip, receipt.to_dict())
    write_poster(frames, poster_path(clip))
    finished = Finished(
        request, clip, poster_path(clip), write_receipt(receipt, clip), HASH, {Stage.DENOISING: 2.0}, ()
    )
    database = Database(studio.settings.database)
    WorkerQueue(database, JobReader(database, studio.settings)).adopt(job_id, finished)
    return job_id
