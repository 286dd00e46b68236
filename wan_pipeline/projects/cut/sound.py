"""The sound of a cut's clips, composed by moviepy. No more than a few files are open at a time."""

from __future__ import annotations

from collections import OrderedDict
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from wan_pipeline.clips.sound.listen import sound_sha256
from wan_pipeline.projects.cut.sequence import Piece, Sequence

SOUND_RATE = 48_000
CHANNELS = 2
OPEN_FILES = 3
"""Two in a dissolve, and the next one."""


class CutSound:
    """The sounds of a cut's clips, where they have the cut's rate. A context: it closes what it opened."""

    def __init__(self, sequence: Sequence) -> None:
        self._sequence = sequence
        self._open: OrderedDict[Path, Any] = OrderedDict()
        self._sounding: dict[Path, bool] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        while self._open:
            self._open.popitem()[1].close()

    def composed(self) -> Any:
        """moviepy's clip of all sounds at their places, with crossfades; None if no clip has any."""
        from moviepy import CompositeAudioClip  # here: it is slow to import

        sequence, parts = self._sequence, []
        for number, (piece, start) in enumerate(zip(sequence.pieces, sequence.starts, strict=True)):
            if not piece.is_card and piece.source.rate == sequence.rate and self._has_sound(piece.source.clip):
                part = self._part(piece, sequence.after(number))
                parts.append(part.with_start(float(start / sequence.rate)))
        return CompositeAudioClip(parts) if parts else None

    def _part(self, piece: Piece, after: int) -> Any:
        from moviepy import AudioClip, afx

        rate, first = piece.source.rate, float(Fraction(piece.first) / piece.source.rate)

        def heard(time: Any) -> Any:
            if not isinstance(time, np.ndarray):  # moviepy asks so how many channels there are
                return np.zeros(CHANNELS)
            return self._samples(piece.source.clip, time + first)

        part = AudioClip(heard, float(piece.frames / rate), SOUND_RATE)
        fades = [
            *([afx.AudioFadeIn(float(piece.dissolve / rate))] if piece.dissolve else []),
            *([afx.AudioFadeOut(float(after / rate))] if after else []),
        ]
        return part.with_effects(fades) if fades else part

    def _samples(self, clip: Path, times: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n, 2) samples; silence after the end of the file's sound."""
        file = self._file(clip)
        samples = np.zeros((len(times), CHANNELS))
        inside = (times >= 0) & (times < file.duration)
        if inside.any():
            samples[inside] = file.get_frame(times[inside])
        return samples

    def _has_sound(self, clip: Path) -> bool:
        if clip not in self._sounding:
            self._sounding[clip] = sound_sha256(clip) is not None
        return self._sounding[clip]

    def _file(self, clip: Path) -> Any:
        from moviepy import AudioFileClip

        if clip not in self._open:
            self._open[clip] = AudioFileClip(str(clip), fps=SOUND_RATE)
            if len(self._open) > OPEN_FILES:
                self._open.popitem(last=False)[1].close()
        self._open.move_to_end(clip)
        return self._open[clip]
