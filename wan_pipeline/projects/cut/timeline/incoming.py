"""A timeline that comes back from an editor's program, beside the cut that it would change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from wan_pipeline.projects.cut.cut import Cut, CutItem
from wan_pipeline.projects.cut.rendering.sequence import Sequence
from wan_pipeline.projects.cut.timeline.changes import Change, ChangeKind, changes, with_old_titles
from wan_pipeline.projects.cut.timeline.find import Finder
from wan_pipeline.projects.cut.timeline.read import read_timeline

DEFAULT_RATE = Fraction(24)
"""Of an EDL that comes back to a cut without clips: it does not say how it counts."""
LookAtCut = Callable[[Cut], Sequence]


@dataclass(frozen=True)
class Incoming:
    """A timeline that came back, before it is taken over."""

    cut: Cut
    changes: tuple[Change, ...]
    unknown: tuple[str, ...]
    """Names of media that are no clips of this studio; they are left out."""
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        found = [each.to_dict() for each in self.changes]
        return {"cut": self.cut.name, "changes": found, "unknown": list(self.unknown), "notes": list(self.notes)}


def read_incoming(old: Cut, file: Path, finder: Finder, look: LookAtCut) -> Incoming:
    """What a timeline would change in a cut, or in a new one that is empty. Raises ProjectError, StorageError."""
    timeline = read_timeline(file, look(old).rate if old.items else old.fraction or DEFAULT_RATE)
    found = finder.cut(timeline, old.name)
    before = _with_ends(old, look)
    items = found.cut.items if timeline.has_titles else with_old_titles(before, found.cut.items)
    unknown = [Change(ChangeKind.UNKNOWN, each) for each in found.unknown]
    new = replace(found.cut, rate=old.rate or found.cut.rate, items=items)
    return Incoming(new, (*changes(before, items), *unknown), found.unknown, found.notes)


def _with_ends(cut: Cut, look: LookAtCut) -> list[CutItem]:
    """The items, each with its end told."""
    if not cut.items:
        return []
    looked = zip(cut.items, look(cut).pieces, strict=True)
    return [replace(item, end=piece.end, dissolve=piece.dissolve) for item, piece in looked]
