"""Relinking: where a draft in a cut has got its final, the cut takes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from wan_pipeline.clips.export.source import Source
from wan_pipeline.projects.cut.cut import Cut, CutItem, name_of, path_of
from wan_pipeline.projects.cut.sequence import Look
from wan_pipeline.projects.shots.store import Shots

FinalOf = Callable[[str], Path | None]
"""The final of a clip, by the clip's id; None where there is none."""


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


def relinks(cut: Cut, clips: Path, final_of: FinalOf, look: Look) -> list[Relink]:
    """The items that could take a final. Clips that are gone are passed over. Raises StorageError, ReceiptError."""
    found = []
    for place, item in enumerate(cut.items, 1):
        path = path_of(item, clips)
        if not path.is_file():
            continue
        draft = look(path)
        final = final_of(draft.receipt.job) if draft.receipt and draft.receipt.job else None
        if final is not None and final.resolve() != path.resolve():
            found.append(_relink(place, item, draft, look(final), clips))
    return found


def relinked(cut: Cut, taken: list[Relink]) -> Cut:
    by_place = {each.place: each.item for each in taken}
    return cut.with_items(tuple(by_place.get(place, item) for place, item in enumerate(cut.items, 1)))


def final_of(shots: Shots, clip_id: str) -> Path | None:
    """The newest finished final of a take."""
    shot = shots.of_take(clip_id)
    finals = [take.clip for take in shot.done if take.final_of == clip_id] if shot else []
    return finals[-1] if finals else None


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
