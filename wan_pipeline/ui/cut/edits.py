"""What the buttons and boxes of the Cut room do to a cut: each takes the cut and a click, and gives the changed cut."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from wan_pipeline.errors import RequestError
from wan_pipeline.projects.cut.cut import Cut, Title, TitlePlace
from wan_pipeline.projects.cut.edits import dissolved, item_at, moved, removed, split, titled, trimmed
from wan_pipeline.ui.common.events import Click

Edit = Callable[[Cut, Click], Cut]


def _place(click: Click) -> int:
    return _number(click.subject)


def _number(text: str) -> int:
    """Raises RequestError."""
    try:
        return int(float(text))
    except ValueError:
        raise RequestError("cut", f"'{text[:20]}' is no number of frames; write a whole one.") from None


def _first(cut: Cut, click: Click) -> Cut:
    return trimmed(cut, _place(click), _number(click.text), item_at(cut, _place(click)).end)


def _end(cut: Cut, click: Click) -> Cut:
    end = _number(click.text) if click.text.strip() else None
    return trimmed(cut, _place(click), item_at(cut, _place(click)).first, end)


def _end_here(cut: Cut, click: Click) -> Cut:
    """The frame at the playhead is the last that is seen."""
    return trimmed(cut, _place(click), item_at(cut, _place(click)).first, _number(click.text) + 1)


def _split(cut: Cut, click: Click) -> Cut:
    return split(cut, _place(click), _number(click.text))


def _dissolve(cut: Cut, click: Click) -> Cut:
    return dissolved(cut, _place(click), _number(click.text or "0"))


def _remove(cut: Cut, click: Click) -> Cut:
    return removed(cut, _place(click))


def _move_to(cut: Cut, click: Click) -> Cut:
    return moved(cut, _place(click), _number(click.text))


def _move_before(cut: Cut, click: Click) -> Cut:
    return moved(cut, _place(click), _place(click) - 1)


def _move_after(cut: Cut, click: Click) -> Cut:
    return moved(cut, _place(click), _place(click) + 1)


def _title(cut: Cut, click: Click) -> Cut:
    """New words; none take the title away."""
    old = item_at(cut, _place(click)).title
    words = click.text.strip()
    return titled(cut, _place(click), (replace(old, text=words) if old else Title(words)) if words else None)


def _of_title(cut: Cut, click: Click) -> Cut:
    title = item_at(cut, _place(click)).title
    if title is None:
        raise RequestError("title", "That clip has no title; write its words first.")
    match click.act:
        case "title-first":
            title = replace(title, first=_number(click.text or "0"))
        case "title-frames":
            title = replace(title, frames=_number(click.text) if click.text.strip() else None)
        case _ if click.text in tuple(TitlePlace):
            title = replace(title, place=TitlePlace(click.text))
    return titled(cut, _place(click), title)


EDITS: Mapping[str, Edit] = {
    **dict.fromkeys(("first", "first-here"), _first),
    "end": _end,
    "end-here": _end_here,
    "split": _split,
    "dissolve": _dissolve,
    "remove": _remove,
    "move-to": _move_to,
    "move-before": _move_before,
    "move-after": _move_after,
    "title": _title,
    **dict.fromkeys(("title-first", "title-frames", "title-place"), _of_title),
}
"""By `data-act` or `data-change`. The subject is the place of an item, from 0."""


def selected_after(click: Click, selected: int | None) -> int | None:
    """The place that is selected after an edit."""
    match click.act:
        case "move-to":
            return _number(click.text)
        case "move-before":
            return max(_place(click) - 1, 0)
        case "move-after":
            return _place(click) + 1
        case "split":
            return _place(click) + 1
        case _:
            return selected
