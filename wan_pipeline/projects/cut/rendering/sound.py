"""The sound of a cut's clips, mixed by `clips.sound.mix` in parts, so that few files are open at a time."""

from __future__ import annotations

import math
from collections.abc import Sequence as Many
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from wan_pipeline.clips.sound.mix import mix
from wan_pipeline.clips.sound.track import Track
from wan_pipeline.progress import Observer, Progress, Stage, check_cancelled
from wan_pipeline.projects.cut.rendering.sequence import Piece, Sequence, SoundSeconds

MOST_FILES = 16
"""Files that one mix reads."""


@dataclass(frozen=True)
class _Part:
    """A sound at its place in the cut, in seconds."""

    track: Track
    start: Fraction
    end: Fraction


def cut_sound(sequence: Sequence, folder: Path, sound_seconds: SoundSeconds, observer: Observer) -> Path | None:
    """Write the sounds of the clips that have the cut's rate, at their places with crossfades, to a WAV in the folder.

    It is as long as the cut. None if no clip has any. Raises RequestError, StorageError and Cancelled.
    """
    sounds = _sounds(sequence, sound_seconds, observer)
    parts = [
        _part(piece, start, sequence.after(number), sequence.rate, seconds)
        for number, (piece, start) in enumerate(zip(sequence.pieces, sequence.starts, strict=True))
        if has_rate_of(sequence, piece) and (seconds := sounds[piece.source.clip]) is not None
    ]
    if not parts:
        return None
    steps, level = _Steps(_mixes(len(parts)), observer), 0
    while len(parts) > MOST_FILES:
        level += 1
        groups = [parts[first : first + MOST_FILES] for first in range(0, len(parts), MOST_FILES)]
        parts = [_joined(group, folder / f"{level}-{number}.wav", steps) for number, group in enumerate(groups)]
    return _mixed(parts, Fraction(0), sequence.frames / sequence.rate, folder / "cut.wav", steps)


def has_rate_of(sequence: Sequence, piece: Piece) -> bool:
    """Whether a clip's sound goes with its frames in the cut."""
    return not piece.is_card and piece.source.rate == sequence.rate


class _Steps:
    """Tells which step of so many begins, and stops there if the work is cancelled."""

    def __init__(self, total: int, observer: Observer) -> None:
        self._total, self._observer, self._done = total, observer, 0

    def begin(self) -> None:
        check_cancelled(self._observer, "cut")
        self._observer.progress(Progress(Stage.LOADING, self._done, self._total))
        self._done += 1


def _sounds(sequence: Sequence, sound_seconds: SoundSeconds, observer: Observer) -> dict[Path, float | None]:
    """The length of each clip's sound."""
    clips = dict.fromkeys(piece.source.clip for piece in sequence.pieces if has_rate_of(sequence, piece))
    steps, sounds = _Steps(len(clips), observer), dict[Path, float | None]()
    for clip in clips:
        steps.begin()
        sounds[clip] = sound_seconds(clip)
    return sounds


def _mixes(parts: int) -> int:
    """How many mixes become one of so many parts."""
    return 1 if parts <= MOST_FILES else (groups := math.ceil(parts / MOST_FILES)) + _mixes(groups)


def _part(piece: Piece, start: int, after: int, rate: Fraction, sound_seconds: float) -> _Part:
    track = Track(
        piece.source.clip,
        first_second=float(piece.first / rate),
        seconds=float(piece.frames / rate),
        fade_in=float(piece.dissolve / rate),
        fade_out=float(after / rate),
        sound_seconds=sound_seconds,
    )
    return _Part(track, start / rate, (start + piece.frames) / rate)


def _joined(parts: Many[_Part], target: Path, steps: _Steps) -> _Part:
    """Parts that follow each other as one."""
    start, end = parts[0].start, parts[-1].end
    return _Part(Track(_mixed(parts, start, end - start, target, steps)), start, end)


def _mixed(parts: Many[_Part], start: Fraction, seconds: Fraction, target: Path, steps: _Steps) -> Path:
    steps.begin()
    mix([replace(part.track, at_seconds=float(part.start - start)) for part in parts], seconds, target)
    return target
