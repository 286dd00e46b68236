"""A cut with its clips looked at: everything that a timeline or a video of it needs."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from wan_pipeline.clips.export.source import Source, open_source
from wan_pipeline.errors import RequestError
from wan_pipeline.projects.cut.cut import Cut, CutItem, pieces


@dataclass(frozen=True)
class Piece:
    """The part of a clip that is seen: frames `first` to `end` - 1."""

    source: Source
    first: int
    end: int

    @property
    def frames(self) -> int:
        return self.end - self.first


@dataclass(frozen=True)
class Sequence:
    """Pieces in order, at one rate."""

    name: str
    rate: Fraction
    pieces: tuple[Piece, ...]

    @property
    def frames(self) -> int:
        return sum(piece.frames for piece in self.pieces)

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


def sequence_of(cut: Cut, clips: Path, rate: Fraction | None = None) -> Sequence:
    """Look at the clips of a cut. `rate` goes before the cut's own.

    Raises ProjectError for a clip that is gone or a cut without clips, RequestError for frames that a clip has not.
    """
    found = tuple(_piece(item, open_source(path, with_latents=False)) for item, path in pieces(cut, clips))
    if not found:
        raise RequestError("cut", f"The cut '{cut.name}' holds no clips; add some with: cut add.")
    return Sequence(cut.name, rate or cut.fraction or found[0].source.rate, found)


def _piece(item: CutItem, source: Source) -> Piece:
    end = source.frames if item.end is None else item.end
    if not 0 <= item.first < end <= source.frames:
        raise RequestError(
            "cut", f"{item.clip} has frames 0 to {source.frames}, and {item.first} to {end} were asked for; shorten it."
        )
    return Piece(source, item.first, end)
