"""A cut with its clips looked at: everything that a timeline or a video of it needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

from wan_pipeline.clips.export.source import Source, open_source
from wan_pipeline.errors import RequestError
from wan_pipeline.projects.cut.cut import Cut, CutItem, Title, pieces

Look = Callable[[Path], Source]
"""What gives a clip's size, rate and frames."""


@dataclass(frozen=True)
class Piece:
    """The part of a clip that is seen: frames `first` to `end` - 1."""

    source: Source
    first: int
    end: int
    dissolve: int = 0
    """So many of its first frames are seen together with the last ones of the piece before it."""
    title: Title | None = None

    @property
    def frames(self) -> int:
        return self.end - self.first

    @property
    def title_span(self) -> tuple[int, int]:
        """The frames of the piece in which its title is seen: the first, and the one after the last."""
        if self.title is None or self.title.first >= self.frames:
            return 0, 0
        frames = self.title.frames or self.frames
        return self.title.first, min(self.title.first + frames, self.frames)


@dataclass(frozen=True)
class Sequence:
    """Pieces in order, at one rate."""

    name: str
    rate: Fraction
    pieces: tuple[Piece, ...]

    @property
    def starts(self) -> list[int]:
        """The frame of the cut at which each piece begins to be seen."""
        starts, at = [], 0
        for piece in self.pieces:
            starts.append(at - piece.dissolve)
            at += piece.frames - piece.dissolve
        return starts

    @property
    def frames(self) -> int:
        return sum(piece.frames - piece.dissolve for piece in self.pieces)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of all pieces. Raises RequestError if they differ."""
        first = self.pieces[0].source
        for piece in self.pieces:
            if piece.source.size != first.size:
                one, other = ("{} x {}".format(*source.size) for source in (first, piece.source))
                raise RequestError(
                    "cut",
                    f"{piece.source.clip.name} is {other} and the cut's first clip {one}; all must be of one size.",
                )
        return first.size

    @property
    def has_other_rates(self) -> bool:
        """Whether a clip's own rate is not that of the cut."""
        return any(piece.source.rate != self.rate for piece in self.pieces)

    def after(self, number: int) -> int:
        """Frames of the dissolve at the end of a piece."""
        return self.pieces[number + 1].dissolve if number + 1 < len(self.pieces) else 0


class KnownClips:
    """Looks at each clip once, until its file changes: two runs of ffmpeg."""

    def __init__(self, limit: int = 4_000) -> None:
        self._limit = limit
        self._known: dict[tuple[Path, int, int], Source] = {}

    def look(self, path: Path) -> Source:
        """Raises StorageError for no video, ReceiptError."""
        state = path.stat()
        key = (path, state.st_mtime_ns, state.st_size)
        if key not in self._known:
            if len(self._known) >= self._limit:
                self._known.clear()
            self._known[key] = open_source(path, with_latents=False)
        return self._known[key]


def look_at(path: Path) -> Source:
    return open_source(path, with_latents=False)


def sequence_of(cut: Cut, clips: Path, rate: Fraction | None = None, look: Look = look_at) -> Sequence:
    """Look at the clips of a cut. `rate` goes before the cut's own.

    Raises ProjectError for a clip that is gone or a cut without clips, RequestError for frames that a clip has not and
    for dissolves that are longer than their clips.
    """
    found = tuple(_piece(item, look(path), number) for number, (item, path) in enumerate(pieces(cut, clips)))
    if not found:
        raise RequestError("cut", f"The cut '{cut.name}' holds no clips; add some with: cut add.")
    _check_dissolves(found)
    return Sequence(cut.name, rate or cut.fraction or found[0].source.rate, found)


def _piece(item: CutItem, source: Source, number: int) -> Piece:
    end = source.frames if item.end is None else item.end
    if not 0 <= item.first < end <= source.frames:
        raise RequestError(
            "cut", f"{item.clip} has frames 0 to {source.frames}, and {item.first} to {end} were asked for; shorten it."
        )
    return Piece(source, item.first, end, item.dissolve if number else 0, item.title)


def _check_dissolves(found: tuple[Piece, ...]) -> None:
    """Raise RequestError unless each dissolve has its own frames in both clips."""
    for one, two in pairwise(found):
        least = min(one.frames - one.dissolve, two.frames)
        if two.dissolve > least:
            raise RequestError(
                "dissolve",
                f"The dissolve of {two.dissolve} frames from {one.source.clip.name} to {two.source.clip.name} does not "
                f"fit; there is room for {least}. Make it shorter, or the clips longer.",
            )
