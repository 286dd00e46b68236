"""Edits of a cut: each takes a cut and gives the changed one. Places are counted from 0."""

from __future__ import annotations

from dataclasses import replace

from wan_pipeline.errors import RequestError
from wan_pipeline.projects.cut.cut import MAX_DISSOLVE, MAX_TITLE, Cut, CutItem, Title, TitlePlace
from wan_pipeline.storage.outside import printable

MAX_CARD = 10_000
"""Frames of a title card."""


def item_at(cut: Cut, place: int) -> CutItem:
    """Raises RequestError for a place that the cut has not."""
    if not 0 <= place < len(cut.items):
        raise RequestError("on", f"The cut '{cut.name}' has {len(cut.items)} clips, and no number {place + 1}.")
    return cut.items[place]


def changed(cut: Cut, place: int, item: CutItem) -> Cut:
    item_at(cut, place)
    return cut.with_items((*cut.items[:place], item, *cut.items[place + 1 :]))


def inserted(cut: Cut, place: int, items: tuple[CutItem, ...]) -> Cut:
    return cut.with_items((*cut.items[:place], *items, *cut.items[place:]))


def with_card(cut: Cut, place: int, text: str, frames: int, where: TitlePlace = TitlePlace.CENTRE) -> Cut:
    """A title card, black with words, that then stands at `place`. Raises RequestError."""
    if not 0 <= place <= len(cut.items):
        raise RequestError("before", f"The cut '{cut.name}' has {len(cut.items)} clips, and no number {place + 1}.")
    if not 1 <= frames <= MAX_CARD:
        raise RequestError("frames", f"A title card of {frames} frames is not possible; choose 1 to {MAX_CARD:,}.")
    return titled(inserted(cut, place, (CutItem("", end=frames),)), place, Title(text, place=where))


def removed(cut: Cut, place: int) -> Cut:
    item_at(cut, place)
    return cut.with_items((*cut.items[:place], *cut.items[place + 1 :]))


def moved(cut: Cut, place: int, to: int) -> Cut:
    """The item at `place` then stands at `to`."""
    item = item_at(cut, place)
    rest = removed(cut, place)
    return inserted(rest, max(0, min(to, len(rest.items))), (item,))


def trimmed(cut: Cut, place: int, first: int, end: int | None) -> Cut:
    return changed(cut, place, replace(item_at(cut, place), first=first, end=end))


def split(cut: Cut, place: int, frame: int) -> Cut:
    """Two items in place of one; the second begins at this frame of the clip. Raises RequestError at its edges."""
    item = item_at(cut, place)
    if not item.first < frame < (item.end or frame + 1):
        raise RequestError("frame", "There is nothing to split at the edge of a clip; move the playhead into it.")
    two = replace(item, end=frame), replace(item, first=frame, dissolve=0, title=None)
    return inserted(removed(cut, place), place, two)


def dissolved(cut: Cut, place: int, frames: int) -> Cut:
    """Into the item at `place`; 0 for a cut. Raises RequestError."""
    if not (frames == 0 or 2 <= frames <= MAX_DISSOLVE):
        raise RequestError("dissolve", f"A dissolve of {frames} frames is not possible; choose 2 to {MAX_DISSOLVE}.")
    return changed(cut, place, replace(item_at(cut, place), dissolve=frames))


def titled(cut: Cut, place: int, title: Title | None) -> Cut:
    """The title of a card is seen as long as the card. Raises RequestError for words that are too long, or too few."""
    item = item_at(cut, place)
    if title is not None:
        text = "\n".join(line.strip() for line in printable(title.text).strip().splitlines())
        if not 1 <= len(text) <= MAX_TITLE:
            raise RequestError("title", f"A title has 1 to {MAX_TITLE} characters, and this one {len(text)}.")
        title = Title(text, place=title.place) if item.is_card else replace(title, text=text)
    return changed(cut, place, replace(item, title=title))
