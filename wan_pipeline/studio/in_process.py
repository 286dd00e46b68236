"""Rendering in this process, without the queue."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from uuid import uuid4

from wan_pipeline.clips.copies.output import copy_clip
from wan_pipeline.clips.files import name_in
from wan_pipeline.clips.naming import check_output, clip_bytes, clip_name
from wan_pipeline.jobs.background.verify import Verdict, verify
from wan_pipeline.jobs.device import device_without_queue
from wan_pipeline.jobs.job import Finished, NewJob
from wan_pipeline.jobs.table.editor import QueueEditor
from wan_pipeline.progress import Observer
from wan_pipeline.projects.clips import ProjectClips
from wan_pipeline.projects.store import Projects
from wan_pipeline.requests.request import Draft
from wan_pipeline.requests.resolver import RequestResolver
from wan_pipeline.settings import Settings
from wan_pipeline.storage.files import check_room


class InProcess:
    """Renders and verifies clips in the calling process, which loads the model for each call."""

    def __init__(
        self,
        settings: Settings,
        requests: RequestResolver,
        projects: Projects,
        project_clips: ProjectClips,
        queue: QueueEditor,
    ) -> None:
        self._settings, self._requests, self._queue = settings, requests, queue
        self._projects, self._project_clips = projects, project_clips

    def render(
        self,
        draft: Draft,
        output: Path | None,
        observer: Observer,
        *,
        strip_metadata: bool = False,
        deterministic: bool = False,
        project: str = "",
        profile: str = "",
    ) -> Finished:
        """Render a clip to `output`, or into the workspace's clips.

        `strip_metadata` leaves the receipt out of the MP4 and writes it only beside it. `deterministic` renders in
        deterministic mode. A `project` that does not exist is made; `profile` is its "draft" or "final". Waits while
        clips of the queue are made. Raises UserError before any weights are loaded, and GenerationError or Cancelled
        from the engine.
        """
        request = self._requests.within(self._projects.layers(project, profile)).resolve(draft)
        label = self._projects.ensure(project)[0].label  # a draft with a fault makes no project
        job = self._project_clips.job(request, label)
        with self._output(job, output) as clip:
            check_room(clip.parent, clip_bytes(request))
            from wan_pipeline.engine.engine import Engine  # here: torch takes seconds to import
            from wan_pipeline.jobs.worker.render import Label, make_clip

            about = Label(project=label, strip_metadata=strip_metadata)
            with (
                device_without_queue(self._settings, observer),
                Engine(self._settings, deterministic=deterministic) as engine,
            ):
                finished = make_clip(engine, request, observer, clip, about)
        name = clip.name if output else name_in(self._settings.clips, clip)
        return replace(finished, warnings=(*finished.warnings, *copy_clip(clip, name, job.output)))

    def verify(self, clip: Path, observer: Observer, deterministic: bool = False) -> Verdict:
        """Render a clip again and compare, once the device is free. Raises UserError, and what the engine raises."""
        device = partial(device_without_queue, self._settings, observer)
        return verify(clip, self._settings, observer, deterministic=deterministic, device=device)

    @contextmanager
    def _output(self, job: NewJob, output: Path | None) -> Iterator[Path]:
        """Where the clip goes; by its project's template, under a name that is reserved until the clip is there."""
        folder, reserved = self._settings.clips, None
        if output is None and job.names:
            reserved = self._queue.reserve_clip(job.names, job.project, folder)
        clip = output or reserved or folder / clip_name(job.request, datetime.now(UTC), uuid4().hex)
        try:
            if clip != reserved:
                check_output(clip)
            yield clip
        finally:
            if reserved and reserved.is_file() and not reserved.stat().st_size:
                reserved.unlink()
