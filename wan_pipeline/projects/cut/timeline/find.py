"""Finds the studio's clips again that a timeline of an editor's program shows."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from os.path import commonprefix
from pathlib import Path

from wan_pipeline.clips.export.order import MAX_HANDLES, START_HOUR
from wan_pipeline.clips.export.rates import frame_of
from wan_pipeline.clips.export.source import Source
from wan_pipeline.clips.naming import name_of
from wan_pipeline.projects.cut.cut import MAX_DISSOLVE, Cut, CutItem, Title, TitlePlace
from wan_pipeline.projects.cut.rendering.sequence import Look
from wan_pipeline.projects.cut.timeline.read import Event, ReadTimeline, TitleEvent

ById = Callable[[str], Path | None]
"""The clip of an id, or of the beginning of one where there is no other."""
_NUMBER = re.compile(r"^\d{3}_")
"""Before the name of media that were made beside a timeline."""


@dataclass(frozen=True)
class Found:
    """A timeline as a cut of clips that are here."""

    cut: Cut
    unknown: tuple[str, ...]
    """Names of media that are no clips of this studio."""
    notes: tuple[str, ...]


class Finder:
    """Knows clips by id, by the name of their file and by reel."""

    def __init__(self, by_id: ById, by_reel: ById, named: Iterable[Path], clips: Path, look: Look) -> None:
        """`by_reel` finds a clip by the beginning of its id, `named` are the clips that are known by their names.

        `clips` is the workspace's folder of clips.
        """
        self._by_id, self._by_reel, self._clips, self._look = by_id, by_reel, clips, look
        self._by_name: dict[str, list[Path]] = {}
        for path in dict.fromkeys(named):
            if path.is_file():
                self._by_name.setdefault(path.stem, []).append(path)

    def cut(self, timeline: ReadTimeline, name: str) -> Found:
        """The timeline as a cut. Raises StorageError for a clip that cannot be read."""
        items: list[CutItem] = []
        unknown: list[str] = []
        notes = [*timeline.notes]
        starts: list[int] = []
        at, lost = 0, False
        for event in timeline.events:
            at -= event.dissolve
            path = None if event.card else self._path(event, notes)
            if event.card:
                items.append(_card(event, event.card, after_a_clip=not lost))
                starts.append(at)
            elif path is None:
                unknown.append(event.name or event.file or event.reel or "without a name")
            else:
                item = self._item(event, path, notes)
                items.append(replace(item, dissolve=0) if lost else item)
                starts.append(at)
            lost = path is None and not event.card
            at += event.frames
        titled = tuple(_with_titles(items, starts, timeline))
        return Found(Cut(name, str(timeline.rate), titled), tuple(dict.fromkeys(unknown)), tuple(dict.fromkeys(notes)))

    def _path(self, event: Event, notes: list[str]) -> Path | None:
        if event.id and (found := self._by_id(event.id)):
            return found
        names = (event.file, _NUMBER.sub("", event.file), event.name, Path(event.name).stem)
        named = next((self._by_name[name] for name in names if name in self._by_name), [])
        if len(named) > 1:
            named = _in_folders(named, event.folders)
        if len(named) == 1:
            return named[0]
        if re.fullmatch(r"[0-9A-Fa-f]{8}", event.reel) and (found := self._by_reel(event.reel.lower())):
            return found
        if named:
            several = ", ".join(name_of(path, self._clips) for path in named)
            notes.append(f"{named[0].stem} may be any of {several}, so none was taken; rename one, or add it by hand.")
        return None

    def _item(self, event: Event, path: Path, notes: list[str]) -> CutItem:
        source = self._look(path)
        first = first_frame(event, source)
        end = first + event.frames
        inside = max(0, min(first, source.frames - 1)), max(1, min(end, source.frames))
        if inside != (first, end):
            notes.append(
                f"{path.name} has frames 0 to {source.frames}; {first} to {end} were asked for, and cut to that."
            )
        dissolve = event.dissolve if 2 <= event.dissolve <= MAX_DISSOLVE else 0
        if dissolve != event.dissolve:
            notes.append(f"The dissolve into {path.name} has {event.dissolve} frames; it becomes a cut.")
        return CutItem(name_of(path, self._clips), inside[0], inside[1], dissolve)


def _in_folders(paths: Sequence[Path], folders: tuple[str, ...]) -> list[Path]:
    """Those whose innermost folders are most of all those of the media: all of them where none is."""
    shared = [len(commonprefix([path.parts[-2::-1], folders[::-1]])) for path in paths]
    return [path for path, number in zip(paths, shared, strict=True) if number == max(shared)]


def _card(event: Event, words: tuple[str, str], *, after_a_clip: bool) -> CutItem:
    text, place = words
    title = Title(text, place=_place(place)) if text else None
    can_dissolve = after_a_clip and 2 <= event.dissolve <= MAX_DISSOLVE
    return CutItem("", 0, max(event.frames, 1), event.dissolve if can_dissolve else 0, title)


def first_frame(event: Event, source: Source) -> int:
    """The first frame of the clip that is seen, from 0, whatever file of it the timeline shows.

    A clip's MP4 is counted from 0; media that were made for a timeline from one hour on, with handles before that.
    """
    if event.own_first is not None:
        return event.first - event.own_first
    if event.media is not None:
        start, frames = event.media
        return event.first - start - max(0, frames - source.frames) // 2
    hour = frame_of(START_HOUR, event.rate)
    return event.first - hour if event.first >= hour - MAX_HANDLES else event.first


def _with_titles(items: list[CutItem], starts: list[int], timeline: ReadTimeline) -> Iterator[CutItem]:
    """Each title is that of the item that began last before it; of several in one item the first."""
    of_item: dict[int, TitleEvent] = {}
    for title in timeline.titles:
        of_item.setdefault(max(bisect_right(starts, title.start) - 1, 0), title)
    for number, item in enumerate(items):
        found = of_item.get(number)
        frames = (item.end or 0) - item.first
        first = max(0, found.start - starts[number]) if found else 0
        if found is None or first >= frames or item.is_card:
            yield item
        else:
            seen = max(1, min(found.frames, frames - first))
            yield replace(item, title=Title(found.text, first, seen, _place(found.place)))


def _place(name: str) -> TitlePlace:
    """The centre for what is no place of a title."""
    return TitlePlace(name) if name in tuple(TitlePlace) else TitlePlace.CENTRE
