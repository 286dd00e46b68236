"""A cut with its clips looked at: everything that a timeline or a video of it needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Generic, TypeVar

from wan_pipeline.clips.export.source import Source, open_source
from wan_pipeline.clips.sound.listen import sound_seconds
from wan_pipeline.errors import RequestError, UserError
from wan_pipeline.projects.cut.cut import CARD_SECONDS, Cut, CutItem, Title, path_of

T = TypeVar("T")
Look = Callable[[Path], Source]
"""What gives a clip's size, rate and frames."""
SoundSeconds = Callable[[Path], float | None]
"""What gives the length of a clip's sound; None without sound."""
UNKNOWN_FRAMES = 24
"""Shown of a clip that is gone, where the cut does not say how many it had."""
UNKNOWN_RATE = Fraction(24)
BLACK = "Black"
"""Name of a card without a title."""
UNKNOWN_SIZE = (832, 480)
"""Of a cut whose clips are all gone."""


@dataclass(frozen=True)
class Piece:
    """The part of a clip that is seen: frames `first` to `end` - 1."""

    source: Source
    first: int
    end: int
    dissolve: int = 0
    """So many of its first frames are seen together with the last ones of the piece before it."""
    title: Title | None = None
    is_card: bool = False
    """Black instead of a clip; `source` then has the cut's size and rate, and no file."""
    problem: str = ""
    """Why it cannot be exported, one sentence; empty if it can. `source` then stands for what cannot be had."""

    @property
    def frames(self) -> int:
        return self.end - self.first

    @property
    def name(self) -> str:
        """For people: of the clip's file, or of the card's words."""
        if not self.is_card:
            return self.source.clip.stem
        return " ".join(self.title.text.split()) if self.title else BLACK

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

    def check(self) -> None:
        """Raise RequestError if a piece cannot be exported."""
        for piece in self.pieces:
            if piece.problem:
                raise RequestError("cut", piece.problem)

    @property
    def has_other_rates(self) -> bool:
        """Whether a clip's own rate is not that of the cut."""
        return any(piece.source.rate != self.rate for piece in self.pieces)

    def after(self, number: int) -> int:
        """Frames of the dissolve at the end of a piece."""
        return self.pieces[number + 1].dissolve if number + 1 < len(self.pieces) else 0


class KnownClips:
    """Looks at each clip once, until its file changes: two runs of ffmpeg, and one for its sound."""

    def __init__(self, limit: int = 4_000) -> None:
        self._sources = _KnownFiles(partial(open_source, with_latents=False), limit)
        self._sounds = _KnownFiles(sound_seconds, limit)

    def look(self, path: Path) -> Source:
        """Raises StorageError for no video, ReceiptError."""
        return self._sources.of(path)

    def sound_seconds(self, path: Path) -> float | None:
        """Length of a clip's sound; None without sound. Raises StorageError."""
        return self._sounds.of(path)


class _KnownFiles(Generic[T]):
    """What was found out of files, until they change."""

    def __init__(self, find_out: Callable[[Path], T], limit: int) -> None:
        self._find_out, self._limit = find_out, limit
        self._known: dict[tuple[Path, int, int], T] = {}

    def of(self, path: Path) -> T:
        state = path.stat()
        key = (path, state.st_mtime_ns, state.st_size)
        if key not in self._known:
            if len(self._known) >= self._limit:
                self._known.clear()
            self._known[key] = self._find_out(path)
        return self._known[key]


def sequence_of(cut: Cut, clips: Path, look: Look, rate: Fraction | None = None) -> Sequence:
    """Look at the clips of a cut. `rate` goes before the cut's own.

    What is wrong with an item is its piece's problem: a clip that is gone or cannot be read, frames that it has not,
    a dissolve that does not fit. Raises RequestError for a cut without clips.
    """
    if not cut.items:
        raise RequestError("cut", f"The cut '{cut.name}' holds no clips; add some with: cut add.")
    looked = [None if item.is_card else _looked(path_of(item, clips), look) for item in cut.items]
    sources = [source for source in looked if isinstance(source, Source)]
    rate = rate or cut.fraction or (sources[0].rate if sources else UNKNOWN_RATE)
    size = sources[0].size if sources else UNKNOWN_SIZE
    found: list[Piece] = []
    for item, source in zip(cut.items, looked, strict=True):
        if source is None:
            piece = _card(item, Source(Path(BLACK), rate, size, 0, None, None))
        elif isinstance(source, Source):
            piece = _piece(item, source)
        else:
            piece = _without_clip(item, Source(path_of(item, clips), rate, size, 0, None, None), source)
        found.append(_dissolved(found[-1], piece, item.dissolve) if found else piece)
    return Sequence(cut.name, rate, tuple(found))


def _looked(path: Path, look: Look) -> Source | str:
    """The clip, or why it cannot be had."""
    if not path.is_file():
        return f"The clip {path.name} is not at {path}; put it back, or remove it from the cut."
    try:
        return look(path)
    except UserError as error:
        return str(error)


def _piece(item: CutItem, source: Source) -> Piece:
    end = source.frames if item.end is None else item.end
    if 0 <= item.first < end <= source.frames:
        return Piece(source, item.first, end, title=item.title)
    problem = f"{item.clip} has frames 0 to {source.frames}, and {item.first} to {end} were asked for; shorten it."
    first = max(0, min(item.first, source.frames - 1))
    return Piece(source, first, max(first + 1, min(end, source.frames)), title=item.title, problem=problem)


def _card(item: CutItem, source: Source) -> Piece:
    end = max(item.end or item.first + round(CARD_SECONDS * source.rate), item.first + 1)
    return Piece(replace(source, frames=end), item.first, end, title=item.title, is_card=True)


def _without_clip(item: CutItem, source: Source, problem: str) -> Piece:
    """As long as the item says; `source` stands for the clip that cannot be had."""
    end = max(item.end or item.first + UNKNOWN_FRAMES, item.first + 1)
    return Piece(replace(source, frames=end, reason=problem), item.first, end, title=item.title, problem=problem)


def _dissolved(one: Piece, two: Piece, frames: int) -> Piece:
    """The second piece with its dissolve, or with a cut where there is no room for it or one of both has a problem."""
    least = min(one.frames - one.dissolve, two.frames)
    if one.problem or two.problem:
        return two
    if frames <= least:
        return replace(two, dissolve=frames)
    return replace(
        two,
        problem=f"The dissolve of {frames} frames from {_called(one)} to {_called(two)} does not "
        f"fit; there is room for {least}. Make it shorter, or the clips longer.",
    )


def _called(piece: Piece) -> str:
    return f"the card '{piece.name}'" if piece.is_card else piece.source.clip.name
