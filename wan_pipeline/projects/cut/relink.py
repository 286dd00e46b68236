"""Relinking: where a draft in a cut has got its final, the cut takes it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from wan_pipeline.clips.export.source import Source
from wan_pipeline.clips.naming import name_of
from wan_pipeline.projects.cut.cut import Cut, CutItem
from wan_pipeline.projects.cut.rendering.sequence import Look, Sequence

FinalsOf = Callable[[Collection[str]], Mapping[str, Path]]
"""The newest finished final of each clip that has one, by the clips' ids."""


@dataclass(frozen=True)
class Relink:
    """An item whose clip has a final."""

    place: int
    """From 1."""
    clip: str
    final: str
    item: CutItem
    """The item with the final."""
    note: str = ""
    """What is otherwise with it; empty if nothing is."""

    def to_dict(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if name != "item"}


def relinks(cut: Cut, sequence: Sequence, clips: Path, finals_of: FinalsOf, look: Look) -> list[Relink]:
    """The items that could take a final; `sequence` is the cut looked at. Raises StorageError, ReceiptError."""
    drafts = [piece.source for piece in sequence.pieces]
    finals = finals_of({draft.receipt.job for draft in drafts if draft.receipt and draft.receipt.job})
    found = []
    for place, (item, draft) in enumerate(zip(cut.items, drafts, strict=True), 1):
        final = finals.get(draft.receipt.job) if draft.receipt else None
        if final is not None and final.is_file() and final.resolve() != draft.clip.resolve():
            found.append(_relink(place, item, draft, look(final), clips))
    return found


def relinked(cut: Cut, taken: list[Relink]) -> Cut:
    by_place = {each.place: each.item for each in taken}
    return cut.with_items(tuple(by_place.get(place, item) for place, item in enumerate(cut.items, 1)))


def _relink(place: int, item: CutItem, draft: Source, final: Source, clips: Path) -> Relink:
    """The same frames of the final; where it is of another length, as many of them as it has."""
    notes = []
    if final.size != draft.size:
        notes.append("it is {} x {}, the draft was {} x {}".format(*final.size, *draft.size))
    if final.rate != draft.rate:
        notes.append(f"it has {final.rate} frames a second, the draft had {draft.rate}")
    end = item.end
    if final.frames != draft.frames:
        notes.append(f"it has {final.frames} frames, the draft had {draft.frames}")
        end = None if end is None else min(end, final.frames)
    name = name_of(final.clip, clips)
    item = replace(item, clip=name, first=min(item.first, final.frames - 1), end=end)
    return Relink(place, name_of(draft.clip, clips), name, item, "; ".join(notes))
