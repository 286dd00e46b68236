"""What is to be exported, where to, and what came of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from wan_pipeline.clips.export.exr import Transfer
from wan_pipeline.clips.export.formats import FIRST_FRAME, Format
from wan_pipeline.clips.export.rates import frame_at, frame_of
from wan_pipeline.errors import RequestError

MAX_HANDLES = 240
START_HOUR = 1
"""Timecode of the first frame: 01:00:00:00, as on tape."""


@dataclass(frozen=True)
class ExportOrder:
    """How to write a clip."""

    format: Format
    output: Path
    """A file; for a sequence a folder that is new or empty."""
    rate: Fraction | None = None
    """Conform: the same frames at this rate. None for the clip's own."""
    handles: int = 0
    """Held frames before the first and after the last one."""
    transfer: Transfer = Transfer.LINEAR
    """Transfer of OpenEXR files."""
    timecode: str = ""
    """Of the clip's own first frame; empty for 01:00:00:00."""
    reel: str = ""
    """The name by which an edit list finds the material; empty for the clip's own."""

    def start(self, rate: Fraction) -> int:
        """The frame count of the timecode of the first frame, which is a handle if there are any.

        Raises RequestError for no timecode, or one before which the handles have no room.
        """
        own = frame_at(self.timecode, rate) if self.timecode else frame_of(START_HOUR, rate)
        if own < self.handles:
            raise RequestError(
                "timecode", f"{self.timecode} leaves no room for {self.handles} handles before it; choose a later one."
            )
        return own - self.handles

    def __post_init__(self) -> None:
        """Raises RequestError."""
        if not 0 <= self.handles <= MAX_HANDLES:
            raise RequestError("handles", f"{self.handles} handles are not possible; choose 0 to {MAX_HANDLES} frames.")


@dataclass(frozen=True)
class Exported:
    """A file, or a folder of a sequence, that was written."""

    path: Path
    frames: int
    """All, with handles."""
    bits: int
    """Per channel, in the file."""
    fps: str
    """An exact fraction, such as 24000/1001."""
    from_latents: bool
    """Whether the levels are the decoder's own; else they are the 8 bits of the MP4."""
    handles: int = 0
    first_frame: int | None = None
    """Number of a sequence's first file."""
    timecode: str = ""
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "path": str(self.path.resolve()), "warnings": list(self.warnings)}


def first_of(form: Format) -> int | None:
    return FIRST_FRAME if form.is_sequence else None
