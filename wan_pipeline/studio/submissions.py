"""How clips come into the queue: checked, their files saved, then written as jobs, all or none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from threading import Lock

from wan_pipeline.clips.naming import clip_bytes
from wan_pipeline.errors import UserError
from wan_pipeline.jobs.job import NewJob
from wan_pipeline.jobs.table.editor import QueueEditor
from wan_pipeline.jobs.table.reader import JobReader
from wan_pipeline.projects.clips import JobOptions, ProjectClips
from wan_pipeline.projects.shots.store import Shots
from wan_pipeline.projects.store import Projects
from wan_pipeline.requests.request import Draft, GenerationRequest
from wan_pipeline.requests.resolver import RequestResolver
from wan_pipeline.requests.texts import check_project
from wan_pipeline.storage.crash import CrashPoint, crash_point
from wan_pipeline.storage.files import check_room

CheckShare = Callable[[GenerationRequest], None]
"""Raises UserError for a clip that is more than a guest may have."""


class Submissions:
    """Queues clips of one workspace. Every method raises UserError."""

    def __init__(
        self,
        folder: Path,
        requests: RequestResolver,
        jobs: JobReader,
        queue: QueueEditor,
        projects: Projects,
        clips: ProjectClips,
        shots: Shots,
        on_queued: Callable[[int], None],
    ) -> None:
        """`folder` is that of the clips; `on_queued` is told how many jobs have come."""
        self._folder, self._requests, self._jobs, self._queue = folder, requests, jobs, queue
        self._projects, self._clips, self._shots, self._on_queued = projects, clips, shots, on_queued
        self._sharing = Lock()

    def submit_many(self, drafts: Sequence[Draft], project: str, *, deterministic: bool, profile: str) -> list[str]:
        """See `Studio.submit_many`."""
        batch = self._requests.batch().within(self._projects.layers(project, profile))
        requests = list(map(batch.checker(), drafts))
        label = self._projects.ensure(project)[0].label  # a draft with a fault makes no project
        make, options = self._clips.maker(label), JobOptions(deterministic=deterministic, profile=profile)
        jobs = [make(request, options) for request in requests]
        return self.submit_checked(list(zip(drafts, jobs, strict=True)), batch)

    def submit_for(self, draft: Draft, project: str, options: JobOptions, check: CheckShare, profile: str) -> str:
        """See `Studio.submit_for`."""
        check_project(project)
        project = self._projects.label(project)
        batch = self._requests.batch().within(self._projects.layers(project, profile))
        request = batch.checker()(draft)
        self._check_room([request])
        check(request)  # before anything is kept
        stored = batch.files.saved(request, draft)  # out of the lock: to save pictures takes its time
        with self._sharing:
            check(request)
            return self._queued([self._clips.job(stored, project, replace(options, profile=profile))])[0]

    def submit_checked(self, clips: Sequence[tuple[Draft, NewJob]], batch: RequestResolver) -> list[str]:
        """Queue clips that have been checked. `batch` saves their files."""
        self._check_room([job.request for _, job in clips])
        return self._queued([job._replace(request=batch.files.saved(job.request, draft)) for draft, job in clips])

    def edit(self, job_id: str, draft: Draft) -> None:
        """See `Studio.edit`."""
        job, shot = self._jobs.existing(job_id), self._shots.of_take(job_id)
        request = self._requests.within(self._projects.layers(job.project)).resolve(draft)
        self._queue.edit(job_id, request, self._clips.names(request, job.project, job.created_at, shot))

    def queue_again(self, job_id: str) -> str:
        """See `Studio.queue_again`."""
        job = self._jobs.existing(job_id)
        if job.request_error:
            raise UserError(job.request_error)
        options = JobOptions(job.note, job.deterministic, shot=self._shots.of_take(job_id))
        again = self._clips.job(job.request, job.project, options)
        return self._queued([again._replace(post_processing=job.post_processing)])[0]

    def _check_room(self, requests: Sequence[GenerationRequest]) -> None:
        """Raises DiskFullError where not even the largest of the clips would fit."""
        check_room(self._folder, max(map(clip_bytes, requests), default=0))

    def _queued(self, jobs: Sequence[NewJob]) -> list[str]:
        ids = self._queue.submit_many(jobs)
        crash_point(CrashPoint.SUBMITTED)
        self._on_queued(len(ids))
        return ids
