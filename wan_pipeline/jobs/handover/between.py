"""Frames in between, made while a clip's frames go by."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from wan_pipeline.clips.export.write import FrameWriter

Frame = NDArray[np.uint16]
"""(H, W, 3), 16 bits."""
MakeBetween = Callable[[Frame, Frame, int], Sequence[Frame]]
"""The `factor` - 1 frames between two."""


class BetweenWriter:
    """A writer that passes on what it is given, bit for bit, and puts frames in between. It holds one frame."""

    def __init__(self, writer: FrameWriter, make: MakeBetween, factor: int) -> None:
        self._writer, self._make, self._factor = writer, make, factor
        self._before: Frame | None = None

    def write(self, frames: NDArray[np.uint16]) -> None:
        for frame in frames:
            if self._before is not None:
                for made in self._make(self._before, frame, self._factor):
                    self._writer.write(made[None])
            self._writer.write(frame[None])
            self._before = frame.copy()  # the caller may use its memory for the next ones
