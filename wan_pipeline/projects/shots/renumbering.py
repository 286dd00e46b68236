"""A shot that gets another id: its clips get the names that its project's template gives them now."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import chain

from wan_pipeline.clips.gallery import Clip, Gallery
from wan_pipeline.errors import UserError
from wan_pipeline.jobs.job import HELD_OR_WAITING
from wan_pipeline.jobs.table.editor import QueueEditor
from wan_pipeline.jobs.table.reader import JobReader
from wan_pipeline.projects.clips import ProjectClips
from wan_pipeline.projects.cut.cuts import Cuts
from wan_pipeline.projects.naming import ClipFacts, is_numbered, named, tells_take
from wan_pipeline.projects.project import Project
from wan_pipeline.projects.shots.clip_names import ClipNames
from wan_pipeline.projects.shots.shot import NewShot, Shot, Take
from wan_pipeline.projects.shots.store import Shots
from wan_pipeline.projects.store import Projects
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
        names: ClipNames,
        shots: Shots,
        projects: Projects,
        clips: ProjectClips,
        gallery: Gallery,
        jobs: JobReader,
        queue: QueueEditor,
        cuts: Cuts,
    ) -> None:
        self._names, self._shots, self._projects, self._clips = names, shots, projects, clips
        self._gallery, self._jobs, self._queue, self._cuts = gallery, jobs, queue, cuts

    def edit(self, number: int, new: NewShot) -> Renumbered:
        """As `Shots.edit`, and rename the shot's clips where the project's template tells scene or shot.

        Receipts, posters and latents follow, and so do the gallery, the queue and the cuts of all projects. A clip
        that was given another name by hand keeps it. The shot is changed last: what broke off is completed by doing it
        again. Raises UserError.
        """
        before = self._shots.check_edit(number, new)
        after = replace(before, scene=new.scene, shot=new.shot)
        project = self._projects.find(before.project)
        is_told = project is not None and any(field in project.naming for field in ("{shot}", "{scene}"))
        if project is None or not is_told or before == after:
            return Renumbered(self._shots.edit(number, new))
        self._gallery.rescan()  # it may have broken off between a clip's files and its row
        renamed, notes = self._rename_all(project, before, after)
        notes += self._rename_waiting(after)
        return Renumbered(self._shots.edit(number, new), renamed, tuple(dict.fromkeys(notes)))

    def _rename_all(self, project: Project, before: Shot, after: Shot) -> tuple[int, list[str]]:
        """How many clips were renamed, and what could not be, a sentence each."""
        renamed, kept = 0, 0
        notes: list[str] = []
        moved: dict[str, str] = {}
        takes = {take.id: take for take in before.done}
        for clip in self._gallery.existing(takes):
            try:
                names = self._rename(clip, takes[clip.id], project, before, after)
            except UserError as error:
                notes.append(str(error))
                continue
            kept += names is None
            if names is not None:
                old, new = names
                renamed += new != self._names.of(clip)
                if old != new and self._names.is_free(old):
                    moved[old] = new
        if moved:
            notes += self._cuts.rename_clips(moved)
        if kept:
            notes.append(f"{plural(kept, 'clip')} not renamed: the names are not those of the project's template.")
        return renamed, notes

    def _rename(self, clip: Clip, take: Take, project: Project, before: Shot, after: Shot) -> tuple[str, str] | None:
        """The clip's old and new name, which it may have had before; None for one that the template does not give."""
        naming, name = project.naming, self._names.of(clip)
        if facts := self._facts_of(clip, take, project, before):
            new = replace(facts, scene=after.scene, shot=after.shot)
            return name, name if named(naming, new) == named(naming, facts) else self._names.move(clip, naming, new)
        if facts := self._facts_of(clip, take, project, after):  # renamed by an edit that broke off
            self._names.write(clip.id, name)
            return f"{named(naming, replace(facts, scene=before.scene, shot=before.shot))}.mp4", name
        return None

    def _facts_of(self, clip: Clip, take: Take, project: Project, shot: Shot) -> ClipFacts | None:
        """The facts that the clip's name was made of; None for a name that the template does not give."""
        job = self._jobs.job(clip.id)
        facts = self._clips.facts(clip.request, project, shot, job.created_at if job else clip.made_at)
        stem = self._names.of(clip).removesuffix(".mp4")
        if not tells_take(project.naming, facts):
            return facts if is_numbered(stem, named(project.naming, facts)) else None
        tried = (replace(facts, take=number) for number in chain([take.number], range(1, MAX_TAKES)))
        return next((each for each in tried if named(project.naming, each) == stem), None)

    def _rename_waiting(self, shot: Shot) -> list[str]:
        """Takes that wait get the names that they will be saved under. One that is being made keeps its own.

        Returns why some could not be renamed, a sentence each.
        """
        notes: list[str] = []
        for job in self._jobs.of_ids([take.id for take in shot.takes]):
            if job.state in HELD_OR_WAITING and not job.request_error:
                names = self._clips.names(job.request, job.project, job.created_at, shot)
                try:
                    self._queue.edit(job.id, job.request, names)
                except UserError as error:
                    notes.append(str(error))
        return notes
