"""The cuts of a workspace's projects, as a person works with them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from wan_pipeline.errors import ProjectError, RequestError
from wan_pipeline.jobs.device import TakeDevice
from wan_pipeline.progress import Observer
from wan_pipeline.projects.cut.cut import MAIN, Cut, CutItem, item_of
from wan_pipeline.projects.cut.export import CommentsOf, CutExporter
from wan_pipeline.projects.cut.files import CutFiles, Version
from wan_pipeline.projects.cut.locking import CutLocks
from wan_pipeline.projects.cut.orders import CutExported, CutOrder
from wan_pipeline.projects.cut.relink import FinalsOf, Relink, relinked, relinks
from wan_pipeline.projects.cut.rendering.sequence import KnownClips, sequence_of
from wan_pipeline.projects.cut.rendering.sequence import Sequence as CutSequence
from wan_pipeline.projects.cut.timeline.find import ById, Finder
from wan_pipeline.projects.cut.timeline.incoming import Incoming, read_incoming
from wan_pipeline.projects.project import DEFAULT, Project
from wan_pipeline.projects.store import Projects
from wan_pipeline.settings import Settings
from wan_pipeline.storage.files import modified
from wan_pipeline.storage.outside import OutsideDataError, parse


@dataclass(frozen=True)
class ClipsOf:
    """What cuts ask of shots, gallery and reviews."""

    picked: Callable[[Project], Sequence[Path]]
    """The MP4s of a project's picked takes, in the order of its shots."""
    of_project: Callable[[Project], Sequence[Path]]
    by_id: ById
    by_reel: ById
    finals_of: FinalsOf
    comments: CommentsOf


class Cuts:
    """Makes, changes, exports and takes back cuts. Every method raises ProjectError where there is no such project."""

    def __init__(self, settings: Settings, projects: Projects, clips: ClipsOf) -> None:
        self._settings, self._projects, self._clips = settings, projects, clips
        self._known = KnownClips()
        self._locks = CutLocks(settings.workspace)
        self._exporter = CutExporter(settings, clips.comments, self._known.sound_seconds)

    # Finding

    def names(self, project: str) -> list[str]:
        return self._files(project).names()

    def existing(self, project: str, name: str = MAIN) -> Cut:
        """Raises ProjectError."""
        files = self._files(project)
        if (cut := files.find(name)) is None:
            known = ", ".join(files.names()) or "none"
            raise ProjectError(f"There is no cut '{name[:80]}' in '{project}' (there are: {known}); make it: cut new.")
        return cut

    def state(self, project: str, name: str) -> tuple[int, ...]:
        """Changes whenever anything does that a cut or the list of cuts is made of: files, shots, gallery."""
        settings = self._settings
        return *self._files(project).state(name), *modified(settings.clips), *modified(settings.database)

    def look(self, cut: Cut, rate: Fraction | None = None) -> CutSequence:
        """The cut with its clips looked at; what is wrong with one is told by its piece. Raises RequestError."""
        return sequence_of(cut, self._settings.clips, self._known.look, rate)

    def picked(self, project: str) -> list[Path]:
        """The project's picked takes, in the order of its shots."""
        return list(self._clips.picked(self._projects.existing(project)))

    # Changing

    def new(self, project: str, name: str = MAIN, rate: Fraction | None = None) -> Cut:
        """Make an empty cut. Raises ProjectError if there is one of that name."""
        files = self._files(project)
        with self.locked(project):
            if there := files.same_name(name):
                raise ProjectError(f"The cut '{there}' is there already; choose another name, or add clips to it.")
            cut = Cut(name, "" if rate is None else str(rate))
            files.save(cut)
        return cut

    def add(
        self,
        project: str,
        name: str,
        clips: Sequence[Path],
        first: int = 0,
        end: int | None = None,
        dissolve: int = 0,
    ) -> Cut:
        """Add clips to the end of a cut, each by a dissolve of so many frames.

        Raises ProjectError, RequestError for frames that a clip has not and for dissolves that do not fit.
        """
        items = tuple(item_of(clip, self._settings.clips, first, end, dissolve) for clip in clips)
        return self.change(project, name, lambda cut: cut.added(items))

    def change(self, project: str, name: str, edit: Callable[[Cut], Cut]) -> Cut:
        """Edit a cut and save it. Raises ProjectError, RequestError for a cut that cannot be, and StorageError."""
        with self.locked(project):
            return self.save(project, edit(self.existing(project, name)))

    def locked(self, project: str) -> AbstractContextManager[None]:
        """As `CutLocks.locked`, for a project by its name."""
        return self._locks.locked(self._projects.label(project) or DEFAULT)

    def put_back(self, project: str, cut: Cut) -> None:
        """Save a cut as it was before, also where clips of it are gone since. Raises ProjectError, StorageError."""
        with self.locked(project):
            self._files(project).save(cut)

    def save(self, project: str, cut: Cut) -> Cut:
        """Raises ProjectError, RequestError for a cut that cannot be, and StorageError."""
        with self.locked(project):
            cut = self._checked(project, cut)
            self._files(project).save(cut)
        return cut

    def rename_clips(self, names: Mapping[str, str]) -> list[str]:
        """Give clips their new names in the cuts of all projects and their versions, by their old ones.

        Returns why some could not be changed, a sentence each. Raises ProjectError where another program has the cuts
        of a project too long; doing it again completes it.
        """
        notes: list[str] = []
        for folder in sorted(self._settings.projects.glob("*/cuts")):  # also where the project's file cannot be read
            with self._locks.locked(folder.parent.name):
                notes += CutFiles(folder.parent).rename_clips(names)
        return notes

    def _checked(self, project: str, cut: Cut) -> Cut:
        """The cut as it can be saved. Problems that it has already, such as a clip that is gone, are no new ones.

        Raises RequestError.
        """
        if cut.items:
            first, *rest = cut.items
            cut = cut.with_items((replace(first, dissolve=0), *rest))  # there is nothing before it
            old = self._files(project).find(cut.name)
            known = set(self._problems(old)) if old else set()
            for item, problem in self._problems(cut):
                if (item, problem) not in known:
                    raise RequestError("cut", problem)
        try:
            parse(Cut, cut.to_dict())  # or the file could not be read again
        except OutsideDataError as error:
            raise RequestError("cut", f"The cut cannot be saved: {error}.") from error
        return cut

    def _problems(self, cut: Cut) -> list[tuple[CutItem, str]]:
        pieces = self.look(cut).pieces if cut.items else ()
        return [(item, piece.problem) for item, piece in zip(cut.items, pieces, strict=True) if piece.problem]

    def delete(self, project: str, name: str) -> None:
        with self.locked(project):
            self.existing(project, name)
            self._files(project).delete(name)

    # Versions

    def versions(self, project: str, name: str = MAIN) -> list[Version]:
        """The oldest first."""
        return self._files(project).versions(name)

    def save_version(self, project: str, name: str, title: str = "") -> Version:
        with self.locked(project):
            return self._files(project).save_version(self.existing(project, name), title)

    def restore(self, project: str, name: str, number: int) -> Cut:
        """Make a cut what it was in a version; what it is now becomes a version too. Raises ProjectError."""
        files = self._files(project)
        with self.locked(project):
            version = files.version(name, number)
            if (now := files.find(name)) is not None and now != version.cut:
                files.save_version(now, f"Before version {number}")
            files.save(version.cut)
        return version.cut

    # Finals

    def relinks(self, cut: Cut) -> list[Relink]:
        """The clips of a cut that have finals."""
        if not cut.items:
            return []
        return relinks(cut, self.look(cut), self._settings.clips, self._clips.finals_of, self._known.look)

    def relink(self, project: str, name: str = MAIN) -> tuple[Cut, list[Relink]]:
        """Take the finals into a cut; what it was becomes a version. Raises RequestError where one does not fit."""
        with self.locked(project):
            cut = self.existing(project, name)
            if found := self.relinks(cut):
                cut = self._replaced(project, cut, relinked(cut, found), "Before its finals")
        return cut, found

    def _replaced(self, project: str, old: Cut | None, new: Cut, title: str) -> Cut:
        """Save a cut in another's place, which becomes a version of that title. Raises RequestError, StorageError."""
        cut, files = self._checked(project, new), self._files(project)
        if old is not None:
            files.save_version(old, title)
        files.save(cut)
        return cut

    # Timelines that come back

    def read(self, project: str, name: str, file: Path) -> Incoming:
        """What a timeline of an editor's program would change in a cut, or in a new one. Raises ProjectError."""
        old = self._files(project).find(name) or Cut(name)
        of_project = self._clips.of_project(self._projects.existing(project))
        used = [self._settings.clips / item.clip for item in old.items]
        by_id, by_reel = self._clips.by_id, self._clips.by_reel
        finder = Finder(by_id, by_reel, [*of_project, *used], self._settings.clips, self._known.look)
        return read_incoming(old, file, finder, self.look)

    def take_over(self, project: str, incoming: Incoming) -> Cut:
        """Make the cut what came back; what it was becomes a version. Raises RequestError for one that cannot be."""
        if not incoming.cut.items:
            raise ProjectError("None of its clips is of this studio, so there is nothing to take over.")
        with self.locked(project):
            old = self._files(project).find(incoming.cut.name)
            return self._replaced(project, old, incoming.cut, "Before it came back")

    # Writing

    def export(
        self, project: str, name: str, order: CutOrder, observer: Observer, device: TakeDevice = nullcontext
    ) -> CutExported:
        """Write a cut; without a name the project's main one, or where it has none its picked takes.

        Raises ProjectError, RequestError, StorageError, GenerationError and Cancelled.
        """
        order.check_output()
        return self._exporter.write(self.look(self._chosen(project, name), order.rate), order, observer, device)

    def _chosen(self, project: str, name: str) -> Cut:
        found = self._projects.existing(project)
        if name or self._files(project).find(MAIN):
            return self.existing(project, name or MAIN)
        items = tuple(CutItem(str(path.resolve())) for path in self._clips.picked(found))
        if not items:
            raise ProjectError(
                f"'{found.title}' has neither a cut nor picked takes; make one with: cut new, cut add, or pick some."
            )
        return Cut(found.title, "", items)

    def _files(self, project: str) -> CutFiles:
        return CutFiles(self._projects.path(self._projects.existing(project).id).parent)
