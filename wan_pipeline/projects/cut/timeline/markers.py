"""Reviewers' notes as markers on the clips of a timeline."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from wan_pipeline.clips.gallery.comments import Comment
from wan_pipeline.projects.cut.rendering.sequence import Piece
from wan_pipeline.projects.reviews import author_of


@dataclass(frozen=True)
class Note:
    """What somebody says of a frame of a clip."""

    frame: int
    """Of the clip, from 0."""
    text: str
    """On one line, with who said it."""
    is_done: bool


def notes_of(piece: Piece, comments: Iterable[Comment]) -> tuple[Note, ...]:
    """The notes of what a piece shows; those of the whole clip are at its first frame."""
    of_clip = [each for each in comments if piece.source.receipt and each.clip_id == piece.source.receipt.job]
    placed = [(piece.first if each.frame is None else each.frame, each) for each in of_clip]
    return tuple(
        Note(frame, f"{author_of(each)}: {' '.join(each.text.split())}", each.is_done)
        for frame, each in placed
        if piece.first <= frame < piece.end
    )


def marker(otio: Any, note: Note, origin: int, rate: Fraction) -> Any:
    """Red, or green for what is done. `origin` is the count of the clip's first frame."""
    time = otio.opentime.RationalTime
    span = otio.opentime.TimeRange(time(origin + note.frame, float(rate)), time(1, float(rate)))
    colour = otio.schema.MarkerColor.GREEN if note.is_done else otio.schema.MarkerColor.RED
    return otio.schema.Marker(name=note.text, marked_range=span, color=colour)
