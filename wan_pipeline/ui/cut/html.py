"""What the Cut room shows, as HTML: values are prepared here, words and markup are in the templates."""

from __future__ import annotations

import json
from collections.abc import Mapping
from collections.abc import Sequence as Many
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from wan_pipeline.clips.export.rates import timecode
from wan_pipeline.clips.naming import poster_path
from wan_pipeline.projects.cut.cut import MAX_DISSOLVE, MAX_TITLE, Cut, Title, TitlePlace
from wan_pipeline.projects.cut.edits import MAX_CARD
from wan_pipeline.projects.cut.files import Version
from wan_pipeline.projects.cut.orders import PROGRAMS, CutFormat
from wan_pipeline.projects.cut.rendering.sequence import Piece, Sequence
from wan_pipeline.projects.cut.rendering.sound import has_rate_of
from wan_pipeline.projects.cut.rendering.titles import FADE_FRAMES, draw_title
from wan_pipeline.projects.cut.timeline.incoming import Incoming
from wan_pipeline.ui.common.templates import Templates, drawing_mark, file_url, webp_url
from wan_pipeline.wording import plural

DRAWN_TITLES = 256
"""Pictures of titles that are kept."""


@dataclass(frozen=True)
class PieceShown:
    """An item of the timeline."""

    name: str
    first: int
    end: int
    of: int
    """Frames of the whole clip."""
    frames: int
    dissolve: int
    title: bool
    is_card: bool
    poster: Path | None
    has_final: bool
    problem: str


@dataclass(frozen=True)
class ClipOffered:
    """A clip that can be added."""

    id: str
    name: str
    poster: Path


@dataclass(frozen=True)
class Looked:
    """A cut as it can be shown."""

    cut: Cut
    sequence: Sequence | None = None
    """None for a cut without clips, and for one that cannot be shown."""
    finals: frozenset[int] = frozenset()
    """Places of items that could take a final."""
    problem: str = ""
    """Why it cannot be shown, or exported: one sentence."""
    takes: Mapping[Path, str] = field(default_factory=dict)
    """What clips are takes of, such as `1/010, take 2`."""

    def name(self, piece: Piece) -> str:
        """The shot and take, or for a clip of no shot its own name."""
        return piece.name if piece.is_card else self.takes.get(piece.source.clip, piece.name)


def head(
    templates: Templates,
    title: str,
    names: Many[str],
    looked: Looked,
    *,
    can_undo: bool = False,
    can_redo: bool = False,
) -> str:
    """`title` is the project's, `names` those of its cuts."""
    facts, sequence, name = "", looked.sequence, looked.cut.name
    if sequence is not None:
        length = timecode(sequence.frames, sequence.rate)
        facts = f"{plural(len(sequence.pieces), 'clip')}, {length} at {float(sequence.rate):.5g} frames a second"
    return templates.render(
        "cut/head.html",
        title=title,
        name=name,
        names=names if name in names else [name, *names],
        facts=facts,
        looked=looked,
        can_undo=can_undo,
        can_redo=can_redo,
    )


def timeline(templates: Templates, looked: Looked, selected: int | None) -> str:
    sequence = looked.sequence
    pieces = (
        [_shown(piece, looked.name(piece), n in looked.finals) for n, piece in enumerate(sequence.pieces)]
        if sequence
        else []
    )
    player = json.dumps(_player(sequence)) if sequence else ""
    return templates.render("cut/timeline.html", pieces=pieces, player=player, selected=selected)


def inspector(templates: Templates, looked: Looked, place: int | None, drawn_at: int = 0) -> str:
    """The selected item; without one what to do. With a `drawing_mark` its boxes show their values again."""
    if looked.sequence is None or place is None:
        return templates.render("cut/inspector.html", item=None)
    piece = looked.sequence.pieces[place]
    return templates.render(
        "cut/inspector.html",
        item=looked.cut.items[place],
        place=place,
        drawn_at=drawn_at,
        piece=piece,
        name=looked.name(piece),
        frames=MAX_CARD if piece.is_card else piece.source.frames,
        max_dissolve=MAX_DISSOLVE,
        max_title=MAX_TITLE,
        places=tuple(TitlePlace),
    )


def offered(templates: Templates, clips: Many[ClipOffered], source: str) -> str:
    return templates.render("cut/bin.html", clips=clips, source=source)


def new(templates: Templates) -> str:
    return templates.render("cut/new.html")


def versions(templates: Templates, name: str, found: Many[Version]) -> str:
    """The newest first."""
    return templates.render("cut/versions.html", name=name, versions=found[::-1], drawn_at=drawing_mark())


def incoming(templates: Templates, file: str, found: Incoming) -> str:
    return templates.render("cut/incoming.html", file=file, incoming=found)


def export(templates: Templates, name: str) -> str:
    return templates.render(
        "cut/export.html", name=name, programs=PROGRAMS.values(), formats=tuple(CutFormat), for_cut=True
    )


def _shown(piece: Piece, name: str, has_final: bool) -> PieceShown:
    poster = poster_path(piece.source.clip)
    return PieceShown(
        name,
        piece.first,
        piece.end,
        MAX_CARD if piece.is_card else piece.source.frames,
        piece.frames,
        piece.dissolve,
        piece.title is not None,
        piece.is_card,
        None if piece.is_card or not poster.is_file() else poster,
        has_final,
        piece.problem,
    )


def _player(sequence: Sequence) -> dict[str, Any]:
    """What player.js plays. Frames are whole numbers, rates in frames a second."""
    width, height = sequence.pieces[0].source.size
    return {
        "rate": float(sequence.rate),
        "frames": sequence.frames,
        "size": [width, height],
        "fade": FADE_FRAMES,
        "pieces": [
            _played(piece, start, (width, height), has_rate_of(sequence, piece))
            for piece, start in zip(sequence.pieces, sequence.starts, strict=True)
        ],
    }


def _played(piece: Piece, start: int, size: tuple[int, int], is_heard: bool) -> dict[str, Any]:
    """`is_heard`: whether the clip's sound, if it has one, is in the rendered cut."""
    return {
        "heard": is_heard,
        "url": "" if piece.problem or piece.is_card else file_url(piece.source.clip),
        "rate": float(piece.source.rate),
        "first": piece.first,
        "end": piece.end,
        "start": start,
        "dissolve": piece.dissolve,
        "title": _title(piece, size),
    }


def _title(piece: Piece, size: tuple[int, int]) -> dict[str, Any] | None:
    """The title's picture, where it stands as shares of the frame's width and height, and the frames it is seen in."""
    if piece.title is None:
        return None
    picture, box = _drawn(piece.title, size)
    first, end = piece.title_span
    return {"picture": picture, "box": box, "first": first, "end": end}


@lru_cache(DRAWN_TITLES)
def _drawn(title: Title, size: tuple[int, int]) -> tuple[str, tuple[float, ...]]:
    """A title's picture as a URL, and its left, top, width and height as shares of the frame."""
    picture, (width, height) = draw_title(title, size), size
    tall, wide = picture.pixels.shape[:2]
    box = (picture.left / width, picture.top / height, wide / width, tall / height)
    return webp_url(picture.webp()), box
