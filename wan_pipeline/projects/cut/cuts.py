"""The cuts of a workspace's projects, as a person works with them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from fractions import Fraction
from pathlib import Path
from typing import Any

from wan_pipeline.clips.export.formats import find_format
from wan_pipeline.clips.export.order import START_HOUR, ExportOrder
from wan_pipeline.clips.export.rates import frame_of
from wan_pipeline.clips.naming import check_other
from wan_pipeline.errors import ProjectError, RequestError
from wan_pipeline.jobs.handover.export import export
from wan_pipeline.progress import Observer
from wan_pipeline.projects.cut.cut import MAIN, Cut, CutFiles, CutItem, item_of
from wan_pipeline.projects.cut.render import render_mp4, render_prores
from wan_pipeline.projects.cut.sequence import Sequence as CutSequence
from wan_pipeline.projects.cut.sequence import sequence_of
from wan_pipeline.projects.cut.timeline import Media, TimelineKind, write_timeline
from wan_pipeline.projects.project import Project
from wan_pipeline.projects.store import Projects
from wan_pipeline.settings import Settings

PickedTakes = Callable[[Project], Sequence[Path]]
"""The MP4s of a project's picked takes, in the order of its shots."""


class CutFormat(StrEnum):
    OTIO = "otio"
    EDL = "edl"
    XML = "xml"
    MP4 = "mp4"
    PRORES = "prores"


_ENDINGS = {CutFormat.PRORES: ".mov"}


@dataclass(frozen=True)
class CutOrder:
    """How to write a cut."""

    format: CutFormat
    output: Path
    rate: Fraction | None = None
    """None for the cut's own."""
    handles: int = 0
    """Held frames around each clip in media of its own."""
    media: str = ""
    """Format of files made for a timeline, beside it; empty for the clips' MP4s as they are."""


@dataclass(frozen=True)
class CutExported:
    path: Path
    frames: int
    fps: str
    clips: int
    media: tuple[Path, ...] = ()
    """The files that a timeline names."""
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        media = [str(path.resolve()) for path in self.media]
        return {**asdict(self), "path": str(self.path.resolve()), "media": media, "warnings": list(self.warnings)}


class Cuts:
    """Makes, changes and exports cuts."""

    def __init__(self, settings: Settings, projects: Projects, picked: PickedTakes) -> None:
        """`picked` gives what is exported of a project without a cut."""
        self._settings, self._projects, self._picked = settings, projects, picked

    def new(self, project: str, name: str = MAIN, rate: Fraction | None = None) -> Cut:
        """Make an empty cut. Raises ProjectError if there is one of that name, or no such project."""
        files = self._files(project)
        if files.find(name) is not None:
            raise ProjectError(f"The cut '{name}' is there already; choose another name, or add clips to it.")
        cut = Cut(name, "" if rate is None else str(rate))
        files.save(cut)
        return cut

    def add(self, project: str, name: str, clips: Sequence[Path], first: int = 0, end: int | None = None) -> Cut:
        """Add clips to the end of a cut. Raises ProjectError, RequestError for frames that a clip has not."""
        items = tuple(item_of(clip, self._settings.clips, first, end) for clip in clips)
        cut = self.existing(project, name)
        sequence_of(Cut(name, cut.rate, items), self._settings.clips)
        changed = cut.added(items)
        self._files(project).save(changed)
        return changed

    def existing(self, project: str, name: str = MAIN) -> Cut:
        """Raises ProjectError."""
        files = self._files(project)
        if (cut := files.find(name)) is None:
            known = ", ".join(files.names()) or "none"
            raise ProjectError(f"There is no cut '{name[:80]}' in '{project}' (there are: {known}); make it: cut new.")
        return cut

    def look(self, cut: Cut) -> CutSequence:
        """The cut with its clips looked at. Raises ProjectError, RequestError and StorageError."""
        return sequence_of(cut, self._settings.clips)

    def export(self, project: str, name: str, order: CutOrder, observer: Observer) -> CutExported:
        """Write a cut; without a name the project's main one, or where it has none its picked takes.

        Raises ProjectError, RequestError, StorageError, GenerationError and Cancelled.
        """
        _check_output(order)
        sequence = sequence_of(self._chosen(project, name), self._settings.clips, order.rate)
        for piece in sequence.pieces:
            check_other(piece.source.clip, order.output)
        if order.format is CutFormat.MP4:
            render_mp4(sequence, order.output, self._settings, observer)
            silent = (
                ("Clips at another rate than the cut's are without their sound.",) if sequence.has_other_rates else ()
            )
            return _exported(order, sequence, (), silent)
        if order.format is CutFormat.PRORES:
            return _exported(order, sequence, (), render_prores(sequence, order.output, self._settings, observer))
        media, warnings = self._media(sequence, order, observer)
        write_timeline(sequence, media, TimelineKind(order.format.value), order.output)
        return _exported(order, sequence, tuple(dict.fromkeys(each.path for each in media)), warnings)

    def _chosen(self, project: str, name: str) -> Cut:
        found = self._projects.existing(project)
        if name or self._files(project).find(MAIN):
            return self.existing(project, name or MAIN)
        items = tuple(CutItem(str(path.resolve())) for path in self._picked(found))
        if not items:
            raise ProjectError(
                f"'{found.title}' has neither a cut nor picked takes; make one with: cut new, cut add, or pick some."
            )
        return Cut(found.title, "", items)

    def _media(self, sequence: CutSequence, order: CutOrder, observer: Observer) -> tuple[list[Media], tuple[str, ...]]:
        """The clips' own files, or new ones beside the timeline: with handles, or at the cut's rate."""
        kind = order.media or ("prores" if order.handles or sequence.has_other_rates else "")
        if not kind:
            return [Media(piece.source.clip) for piece in sequence.pieces], ()
        form = find_format(kind)
        made: dict[Path, Media] = {}
        warnings: list[str] = []
        if not form.has_timecode:
            raise RequestError("media", f"Media for a timeline need timecode, which {form.title} has not; use prores.")
        start = frame_of(START_HOUR, sequence.rate) - order.handles
        folder = order.output.with_name(f"{order.output.stem}_media")
        for piece in sequence.pieces:
            clip = piece.source.clip
            if clip in made:
                continue
            path = folder / f"{len(made) + 1:03}_{clip.stem}{form.endings[0]}"
            warnings += export(
                clip, ExportOrder(form, path, sequence.rate, order.handles), self._settings, observer
            ).warnings
            made[clip] = Media(path, start, order.handles)
        return [made[piece.source.clip] for piece in sequence.pieces], tuple(dict.fromkeys(warnings))

    def _files(self, project: str) -> CutFiles:
        return CutFiles(self._projects.path(self._projects.existing(project).id).parent)


def _check_output(order: CutOrder) -> None:
    """Raise RequestError for a name with another ending, and for handles in one video."""
    ending = _ENDINGS.get(order.format, f".{order.format}")
    if order.output.suffix.lower() != ending or order.output.is_dir():
        raise RequestError("output", f"{order.output} is no name for {order.format}; choose one that ends in {ending}.")
    if order.handles and order.format in (CutFormat.MP4, CutFormat.PRORES):
        raise RequestError("handles", "One video of a cut has no handles; export otio, edl or xml with them.")


def _exported(
    order: CutOrder, sequence: CutSequence, media: tuple[Path, ...] = (), warnings: tuple[str, ...] = ()
) -> CutExported:
    return CutExported(order.output, sequence.frames, str(sequence.rate), len(sequence.pieces), media, warnings)
