"""The frames of a cut, from the frames of its pieces one after the other: dissolves and titles, in 8 or 16 bits."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from wan_pipeline.projects.cut.cut import Title
from wan_pipeline.projects.cut.rendering.sequence import Sequence
from wan_pipeline.projects.cut.rendering.titles import TitlePicture, draw_title, opacity

Level = TypeVar("Level", np.uint8, np.uint16)
Draw = Callable[[Title, tuple[int, int]], TitlePicture]


class Mixer:
    """Holds the frames of one dissolve at most.

    Levels are mixed as they are displayed, without linear light, as editing programs do by default.
    """

    def __init__(self, sequence: Sequence, draw: Draw = draw_title) -> None:
        self._sequence, self._draw = sequence, draw
        self._number, self._frame = -1, 0
        self._held: deque[NDArray[Any]] = deque()
        self._drawn: tuple[Title | None, TitlePicture | None] = (None, None)

    def next_piece(self) -> None:
        """Frames that come from now on are those of the next piece, without what is before its first one."""
        self._number, self._frame = self._number + 1, 0

    def add(self, frame: NDArray[Level]) -> Iterator[NDArray[Level]]:
        """Take the next frame (H, W, 3) of the piece; gives the frame of the cut that it completes, if it does."""
        piece, place = self._sequence.pieces[self._number], self._frame
        self._frame += 1
        if place >= piece.frames:
            return
        mixed = self._titled(frame, place)
        if place < piece.dissolve:
            mixed = dissolve(self._held.popleft(), mixed, share(place, piece.dissolve))
        if place >= piece.frames - self._sequence.after(self._number):
            self._held.append(mixed.copy())
        else:
            yield mixed

    def _titled(self, frame: NDArray[Level], place: int) -> NDArray[Level]:
        piece = self._sequence.pieces[self._number]
        first, end = piece.title_span
        if piece.title is None or not first <= place < end:
            return frame
        if self._drawn[0] != piece.title:
            self._drawn = piece.title, self._draw(piece.title, (frame.shape[1], frame.shape[0]))
        picture = cast(TitlePicture, self._drawn[1])
        return with_title(frame, picture, opacity(place - first, end - first))


def share(frame: int, frames: int) -> float:
    """How much of the later piece is seen in a frame of a dissolve, from 0."""
    return (frame + 1) / (frames + 1)


def dissolve(one: NDArray[Level], two: NDArray[Level], of_two: float) -> NDArray[Level]:
    return _rounded(one * np.float32(1 - of_two) + two * np.float32(of_two), two.dtype)


def with_title(frame: NDArray[Level], picture: TitlePicture, seen: float) -> NDArray[Level]:
    """The frame with a title over it; `seen` is the title's opacity."""
    height, width = picture.pixels.shape[:2]
    here = slice(picture.top, picture.top + height), slice(picture.left, picture.left + width)
    most = np.iinfo(frame.dtype).max
    alpha = picture.pixels[..., 3:].astype(np.float32) * np.float32(seen / 255)
    letters = picture.pixels[..., :3].astype(np.float32) * np.float32(most / 255)
    titled = frame.copy()
    titled[here] = _rounded(frame[here] * (1 - alpha) + letters * alpha, frame.dtype)
    return titled


def _rounded(levels: NDArray[np.float32], kind: np.dtype[Level]) -> NDArray[Level]:
    return np.rint(levels).astype(kind)
