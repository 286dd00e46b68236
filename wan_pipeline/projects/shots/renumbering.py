"""A shot that gets another id: its clips get the names that its project's template gives them now."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from wan_pipeline.clips.files import ClipFileError, rename_files
from wan_pipeline.clips.gallery import Clip, Gallery
from wan_pipeline.clips.naming import poster_path
from wan_pipeline.jobs.editor import QueueEditor
from wan_pipeline.jobs.job import HELD_OR_WAITING
from wan_pipeline.jobs.reader import JobReader
from wan_pipeline.projects.clips import ProjectClips
from wan_pipeline.projects.cut.files import CutFiles
from wan_pipeline.projects.naming import ClipFacts, free_names, named
from wan_pipeline.projects.project import Project
from wan_pipeline.projects.shots.shot import NewShot, Shot, Take
from wan_pipeline.projects.shots.store import Shots
from wan_pipeline.projects.store import Projects
from wan_pipeline.storage.database import Database
from wan_pipeline.wording import plural

MAX_TAKES = 1000
"""Numbers of takes that are tried for a clip whose name tells another than its take's."""


@dataclass(frozen=True)
class Renumbered:
    shot: Shot
    renamed: int = 0
    """Clips with another name."""
    notes: tuple[str, ...] = ()
    """What kept its name, a sentence each."""


class Renumbering:
    """Changes what is said of shots, and the names of their clips with it."""

    def __init__(
        self,
        database: Database,
        folder: Path,
        shots: Shots,
        projects: Projects,
        clips: ProjectClips,
        gallery: Gallery,
        jobs: JobReader,
        queue: QueueEditor,
    ) -> None:
        """`folder` is the workspace's folder of clips."""
        self._database, self._folder = database, folder
        self._shots, self._projects, self._clips = shots, projects, clips
        self._gallery, self._jobs, self._queue = gallery, jobs, queue

    def edit(self, number: int, new: NewShot) -> Renumbered:
        """As `Shots.edit`, and rename the shot's clips where the project's template tells scene or shot.

        Receipts, posters and latents follow, and so do the gallery, the queue and the project's cuts. A clip that was
        given another name by hand keeps it. Raises UserError.
        """
        before = self._shots.of_number(number)
        shot = self._shots.edit(number, new)
        project = self._projects.find(shot.project)
        is_told = project is not None and any(field in project.naming for field in ("{shot}", "{scene}"))
        if project is None or not is_told or (before.scene, before.shot) == (shot.scene, shot.shot):
            return Renumbered(shot)
        names, notes = self._rename_all(project, before, shot)
        self._follow_in_cuts(project, names)
        self._rename_waiting(shot)
        return Renumbered(self._shots.of_number(number), len(names), tuple(notes))

    def _rename_all(self, project: Project, before: Shot, shot: Shot) -> tuple[dict[str, str], list[str]]:
        """The new names of clips by their old ones, and what could not be renamed."""
        names: dict[str, str] = {}
        notes, kept = [], 0
        clips = {clip.id: clip for clip in self._gallery.existing(take.id for take in before.done)}
        for take in before.done:
            clip = clips[take.id]
            if (facts := self._facts_of(clip, take, project, before)) is None:
                kept += 1
                continue
            new_facts = replace(facts, scene=shot.scene, shot=shot.shot)
            new = f"{next(free_names(project.naming, new_facts, self._folder))}.mp4"
            try:
                names[self._name(clip)] = self._rename(clip, new)
            except ClipFileError as error:
                notes.append(str(error))
        if kept:
            notes.append(f"{plural(kept, 'clip')} not renamed: the names are not those of the project's template.")
        return names, notes

    def _facts_of(self, clip: Clip, take: Take, project: Project, shot: Shot) -> ClipFacts | None:
        """The facts that the clip's name was made of; None for a name that the template does not give."""
        job = self._jobs.job(clip.id)
        facts = self._clips.facts(clip.request, project, shot, job.created_at if job else clip.made_at)
        stem = self._name(clip).removesuffix(".mp4")
        tried = (replace(facts, take=number) for number in chain([take.number], range(1, MAX_TAKES)))
        return next((each for each in tried if named(project.naming, each) == stem), None)

    def _rename(self, clip: Clip, new: str) -> str:
        """The files first: after a crash between them and the rows, a rescan finds the clip under its new name."""
        old = self._name(clip)
        rename_files(old, new, self._folder)
        poster = poster_path(Path(new)).as_posix()
        with self._database.transaction() as connection:
            connection.execute("UPDATE clips SET clip = ?, poster = ? WHERE id = ?", (new, poster, clip.id))
            connection.execute(
                "UPDATE jobs SET clip = ?, poster = ?, clip_name = ? WHERE id = ?",
                (new, poster, new.removesuffix(".mp4"), clip.id),
            )
        _remove_empty((self._folder / old).parent, self._folder)
        return new

    def _follow_in_cuts(self, project: Project, names: Mapping[str, str]) -> None:
        files = CutFiles(self._projects.path(project.id).parent)
        for name in files.names() if names else ():
            cut = files.find(name)
            if cut and any(item.clip in names for item in cut.items):
                items = tuple(replace(item, clip=names.get(item.clip, item.clip)) for item in cut.items)
                files.save(replace(cut, items=items))

    def _rename_waiting(self, shot: Shot) -> None:
        """Takes that wait get the names that they will be saved under. One that is being made keeps its own."""
        for job in self._jobs.of_ids([take.id for take in shot.takes]):
            if job.state in HELD_OR_WAITING and not job.request_error:
                names = self._clips.names(job.request, job.project, job.created_at, shot)
                self._queue.edit(job.id, job.request, names)

    def _name(self, clip: Clip) -> str:
        return clip.path.relative_to(self._folder).as_posix()


def _remove_empty(folder: Path, above: Path) -> None:
    """Remove folders that held nothing else, up to the folder of clips."""
    with suppress(OSError):  # the first that is not empty
        while folder != above:
            folder.rmdir()
            folder = folder.parent
