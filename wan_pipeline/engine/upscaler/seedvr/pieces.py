"""A clip in pieces of frames that fade into each other: it may be of any length, and takes the memory of one piece."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from wan_pipeline.engine.network_files.levels import Levels
from wan_pipeline.engine.upscaler.seedvr.vae import TIME

OVERLAP = 5
"""Frames in which a piece fades into the next: 4 n + 1, so that latents of both pieces stand for the same frames."""
Make = Callable[[list[Levels], int, int], Iterable[Levels]]
"""The frames of a piece, 4 n + 1 of them, the number of the first, and how many no piece had before -> as many larger
frames."""


class Pieces:
    """Takes frames one by one and gives what `make` made of them, in order. All pieces but a whole clip are as long.

    The last one begins early enough to have its length too. A clip that is shorter than a piece is one, and the last
    frame is repeated until it has 4 n + 1.
    """

    def __init__(self, make: Make, length: int) -> None:
        self._make, self._length = make, length
        self._frames: deque[Levels] = deque(maxlen=length)
        """The last ones that were given."""
        self._count = 0
        """How many were given."""
        self._tail: list[Levels] = []
        """Larger frames that still fade into the next piece's."""
        self._end = 0
        """Number of the frame after the last piece's."""

    def add(self, frame: Levels) -> Iterator[Levels]:
        """Take a frame; what is ready with it."""
        self._frames.append(frame.copy())  # the caller may use its memory for the next one
        self._count += 1
        first = self._count - self._length
        if first == max(0, self._end - OVERLAP):
            yield from self._piece(list(self._frames), first)

    def end(self) -> Iterator[Levels]:
        """There are no more frames; what is left."""
        if self._count > self._end:
            # pieces begin with a latent
            first = max(0, -(-(self._count - self._length) // TIME) * TIME)
            frames = list(self._frames)[first - self._count :]
            missing = -(len(frames) - 1) % TIME
            yield from self._piece(frames + frames[-1:] * missing, first, keep=len(frames))
        yield from self._tail
        self._tail = []

    def _piece(self, frames: list[Levels], first: int, keep: int | None = None) -> Iterator[Levels]:
        """What of a piece is ready, after those of the piece before; the last frames become the tail."""
        keep = keep or len(frames)
        fading, tail = self._tail, []
        begins = self._end - len(fading)
        for number, made in enumerate(self._make(frames, first, first + keep - self._end), first):
            if not begins <= number < first + keep:
                continue
            frame = _faded(fading[number - begins], made, number - begins) if number < self._end else made
            if number < first + keep - OVERLAP:
                yield frame
            else:
                tail.append(frame)
        self._tail, self._end = tail, first + keep


def _faded(before: Levels, after: Levels, place: int) -> Levels:
    """Between two pieces' frames; at `place` 0 nearly the first's."""
    share = (place + 1) / (OVERLAP + 1)
    mixed: Levels = np.rint(before * (1 - share) + after * share).astype(np.uint16)
    return mixed
