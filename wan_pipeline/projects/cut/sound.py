"""The sound of a cut's clips, mixed by `clips.sound.mix` in parts, so that few files are open at a time."""

from __future__ import annotations

from collections.abc import Sequence as Many
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from wan_pipeline.clips.sound.listen import sound_sha256
from wan_pipeline.clips.sound.mix import mix
from wan_pipeline.clips.sound.track import Track
from wan_pipeline.projects.cut.sequence import Piece, Sequence

MOST_FILES = 16
"""Files that one mix reads."""


@dataclass(frozen=True)
class _Part:
    """A sound at its place in the cut, in seconds."""

    track: Track
    start: Fraction
    end: Fraction


def cut_sound(sequence: Sequence, folder: Path) -> Path | None:
    """Write the sounds of the clips that have the cut's rate, at their places with crossfades, to a WAV in the folder.

    It is as long as the cut. None if no clip has any. Raises RequestError, StorageError.
    """
    with_sound = {path for path in _clips(sequence) if sound_sha256(path) is not None}
    parts = [
        _part(piece, start, sequence.after(number), sequence.rate)
        for number, (piece, start) in enumerate(zip(sequence.pieces, sequence.starts, strict=True))
        if has_rate_of(sequence, piece) and piece.source.clip in with_sound
    ]
    level = 0
    while len(parts) > MOST_FILES:
        level += 1
        groups = [parts[first : first + MOST_FILES] for first in range(0, len(parts), MOST_FILES)]
        parts = [_joined(group, folder / f"{level}-{number}.wav") for number, group in enumerate(groups)]
    if not parts:
        return None
    return _mixed(parts, Fraction(0), sequence.frames / sequence.rate, folder / "cut.wav")


def has_rate_of(sequence: Sequence, piece: Piece) -> bool:
    """Whether a clip's sound goes with its frames in the cut."""
    return not piece.is_card and piece.source.rate == sequence.rate


def _clips(sequence: Sequence) -> set[Path]:
    return {piece.source.clip for piece in sequence.pieces if has_rate_of(sequence, piece)}


def _part(piece: Piece, start: int, after: int, rate: Fraction) -> _Part:
    track = Track(
        piece.source.clip,
        first_second=float(piece.first / rate),
        seconds=float(piece.frames / rate),
        fade_in=float(piece.dissolve / rate),
        fade_out=float(after / rate),
    )
    return _Part(track, start / rate, (start + piece.frames) / rate)


def _joined(parts: Many[_Part], target: Path) -> _Part:
    """Parts that follow each other as one."""
    start, end = parts[0].start, parts[-1].end
    return _Part(Track(_mixed(parts, start, end - start, target)), start, end)


def _mixed(parts: Many[_Part], start: Fraction, seconds: Fraction, target: Path) -> Path:
    mix([replace(part.track, at_seconds=float(part.start - start)) for part in parts], seconds, target)
    return target
