"""Clips as their projects want them: by which settings, under which name, and copied to which folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path

from wan_pipeline.clips.naming import words_of
from wan_pipeline.jobs.job import Links, Names, NewJob
from wan_pipeline.projects.naming import ClipFacts, free_names
from wan_pipeline.projects.project import Project
from wan_pipeline.projects.shots.shot import Shot
from wan_pipeline.projects.store import Projects
from wan_pipeline.requests import options as words
from wan_pipeline.requests.post_processing import UNCHANGED
from wan_pipeline.requests.request import GenerationRequest


@dataclass(frozen=True)
class JobOptions:
    """What is said of a new job beside its request and project."""

    note: str = ""
    deterministic: bool = False
    made_by: str = ""
    shot: Shot | None = None
    """The shot that it is a take of."""
    take: int = 0
    """The number that the take is to have; 0: the next."""
    final_of: str = ""
    """Id of the draft that it makes again as a final."""
    profile: str = ""
    """The project's "draft" or "final" that it is made by, or "" for neither."""


class ProjectClips:
    """Makes the jobs of projects' clips."""

    def __init__(self, projects: Projects, clips: Path) -> None:
        """`clips` is the workspace's folder of clips."""
        self._projects, self._clips = projects, clips

    def job(self, request: GenerationRequest, label: str, options: JobOptions | None = None) -> NewJob:
        """A job for a clip of the project with this label. Raises ProjectError if its file cannot be read."""
        return self.maker(label)(request, options or JobOptions())

    def maker(self, label: str) -> Callable[[GenerationRequest, JobOptions], NewJob]:
        """`job` for many clips of one project, whose file is looked up once."""
        project = self._projects.find(label)

        def make(request: GenerationRequest, options: JobOptions) -> NewJob:
            return NewJob(
                request,
                label,
                options.note,
                options.deterministic,
                options.made_by,
                self._namer(request, project, options.shot, None),
                _whole_path(project.output) if project else "",
                Links(options.shot.number if options.shot else 0, options.take, options.final_of),
                project.post_processing(options.profile) if project else UNCHANGED,
            )

        return make

    def names(self, request: GenerationRequest, label: str, queued: datetime, shot: Shot | None = None) -> Names | None:
        """`NewJob.names` for a job that was queued at that time. Raises ProjectError."""
        return self._namer(request, self._projects.find(label), shot, queued)

    def _namer(
        self, request: GenerationRequest, project: Project | None, shot: Shot | None, queued: datetime | None
    ) -> Names | None:
        return partial(self._names, request, project, shot, queued) if project and project.naming else None

    def _names(
        self,
        request: GenerationRequest,
        project: Project,
        shot: Shot | None,
        queued: datetime | None,
        earlier: int,
        take: int = 0,
    ) -> Iterator[str]:
        """Free names, as `free_names` gives them, where the project already had this many jobs.

        A template that names the shot counts the shot's takes.
        """
        facts = self.facts(request, project, shot, queued or datetime.now())
        number = take if shot and "{shot}" in project.naming else earlier + 1
        return free_names(project.naming, replace(facts, take=number), self._clips)

    def facts(self, request: GenerationRequest, project: Project, shot: Shot | None, queued: datetime) -> ClipFacts:
        """What a project's template may name of a clip, but for the number of its take."""
        now = queued.astimezone()
        return ClipFacts(
            project=project.title,
            seed=request.seed,
            take=0,
            scene=shot.scene if shot else "",
            shot=shot.shot if shot else "",
            model=request.model,
            preset=request.preset or "",
            date=f"{now:%Y-%m-%d}",
            time=f"{now:%H%M%S}",
            prompt=words_of(request.prompt),
        )


def _whole_path(output: str) -> str:
    """An output folder, as the owner wrote it, from the root. One in a home that is not known stays as it is.

    It is settled here, for the worker that copies the clip may run in another folder.
    """
    folder = words.path(output)
    return output if not output or folder.as_posix().startswith("~") else str(folder.absolute())
