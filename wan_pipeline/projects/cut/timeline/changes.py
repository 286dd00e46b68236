"""What differs between a cut and the same cut as it came back from an editor."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

from wan_pipeline.projects.cut.cut import CutItem


class ChangeKind(StrEnum):
    ADDED = "added"
    REMOVED = "removed"
    MOVED = "moved"
    TRIMMED = "trimmed"
    DISSOLVE = "dissolve"
    TITLE = "title"
    UNKNOWN = "unknown"
    """Media that name no clip of this studio, or several: left out."""


@dataclass(frozen=True)
class Change:
    kind: ChangeKind
    clip: str
    place: int | None = None
    """Where in the cut, from 1: in the new one, of what was removed in the old one."""
    was: str = ""
    now: str = ""

    @property
    def sentence(self) -> str:
        where = f"{self.place}. {self.clip}" if self.place else self.clip
        match self.kind:
            case ChangeKind.ADDED:
                return f"{where}: added, {self.now}"
            case ChangeKind.REMOVED:
                return f"{where}: removed"
            case ChangeKind.UNKNOWN:
                return f"{where}: it names no clip of this studio, or several; left out"
            case ChangeKind.MOVED:
                return f"{where}: moved from place {self.was} to {self.now}"
            case ChangeKind.TRIMMED:
                return f"{where}: trimmed from {self.was} to {self.now}"
            case ChangeKind.DISSOLVE | ChangeKind.TITLE:
                return f"{where}: {self.kind} {self.was or 'none'} becomes {self.now or 'none'}"

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "sentence": self.sentence}


def changes(old: Sequence[CutItem], new: Sequence[CutItem]) -> list[Change]:
    """What was done to `old` to become `new`; in both, every item names its end. In the order of the new one."""
    partners = _partners(old, new)
    kept = [was for was in partners if was is not None]
    in_order = set(_longest_rising(kept))
    found: list[Change] = []
    for place, (item, was) in enumerate(zip(new, partners, strict=True), 1):
        if was is None:
            found.append(Change(ChangeKind.ADDED, _name(item), place, now=_frames(item)))
            continue
        if was not in in_order:
            found.append(Change(ChangeKind.MOVED, _name(item), place, str(was + 1), str(place)))
        found += _changed(place, old[was], item)
    gone = [place for place in range(len(old)) if place not in kept]
    return [*found, *(Change(ChangeKind.REMOVED, _name(old[place]), place + 1) for place in gone)]


def with_old_titles(old: Sequence[CutItem], new: Sequence[CutItem]) -> tuple[CutItem, ...]:
    """The new items with the titles that they had, for a timeline that cannot hold any."""
    partners = zip(new, _partners(old, new), strict=True)
    return tuple(item if was is None else _with_title_of(old[was], item) for item, was in partners)


def _with_title_of(old: CutItem, new: CutItem) -> CutItem:
    """The new item with the old one's title; a card has new words only where they are others."""
    is_reworded = new.is_card and new.title is not None and _words(new) != _words(old)
    return new if is_reworded else replace(new, title=old.title)


def _changed(place: int, old: CutItem, new: CutItem) -> Iterator[Change]:
    if (old.first, old.end) != (new.first, new.end):
        yield Change(ChangeKind.TRIMMED, _name(new), place, _frames(old), _frames(new))
    if old.dissolve != new.dissolve:
        yield Change(ChangeKind.DISSOLVE, _name(new), place, str(old.dissolve or ""), str(new.dissolve or ""))
    if old.title != new.title:
        was, now = (each.title.text if each.title else "" for each in (old, new))
        yield Change(ChangeKind.TITLE, _name(new), place, was, now)


def _words(item: CutItem) -> str:
    return " ".join(item.title.text.split()) if item.title else ""


def _name(item: CutItem) -> str:
    return item.clip or (f"the card '{words}'" if (words := _words(item)) else "the black card")


def _frames(item: CutItem) -> str:
    return f"frames {item.first} to {item.end}"


def _partners(old: Sequence[CutItem], new: Sequence[CutItem]) -> list[int | None]:
    """For each new item the place of the old one that it was: of the same clip the one that shares most frames."""
    free = set(range(len(old)))
    partners: list[int | None] = []
    for item in new:
        same = [place for place in sorted(free) if old[place].clip == item.clip]
        best = max(same, key=lambda place: (_is_same_card(old[place], item), _shared(old[place], item)), default=None)
        free.discard(-1 if best is None else best)
        partners.append(best)
    return partners


def _is_same_card(one: CutItem, two: CutItem) -> bool:
    return one.is_card and _words(one) == _words(two)


def _shared(one: CutItem, two: CutItem) -> int:
    return min(one.end or 0, two.end or 0) - max(one.first, two.first)


def _longest_rising(places: Sequence[int]) -> list[int]:
    """The longest rising subsequence: what stayed in order, so that as few as possible have moved."""
    ends: list[int] = []  # the smallest end of a rising subsequence of each length
    before: dict[int, int | None] = {}
    for place in places:
        length = bisect_left(ends, place)
        before[place] = ends[length - 1] if length else None
        ends[length : length + 1] = [place]
    found: list[int] = []
    at = ends[-1] if ends else None
    while at is not None:
        found.append(at)
        at = before[at]
    return found[::-1]
