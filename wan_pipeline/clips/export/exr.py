"""OpenEXR sequences: half float, BT.709 primaries, linear light or as displayed, and tagged so."""

from __future__ import annotations

from enum import StrEnum
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wan_pipeline.clips.export.formats import FIRST_FRAME, SEQUENCE_DIGITS
from wan_pipeline.clips.export.rates import exr_has_timecode, timecode

BT709_PRIMARIES = (0.64, 0.33, 0.30, 0.60, 0.15, 0.06, 0.3127, 0.3290)
"""x and y of red, green, blue and white (D65): ITU-R BT.709-6, item 1.3."""
_NO_USER_BITS = (0,) * 14


class Transfer(StrEnum):
    """How light is coded in the files."""

    LINEAR = "linear"
    """Twice the value is twice the light: for compositing."""
    DISPLAY = "display"
    """The clip's own values, coded by BT.709: for pictures that are only to be seen."""


def to_linear(display: NDArray[np.float64]) -> NDArray[np.float64]:
    """The light of BT.709 values from 0 to 1: the inverse of the camera curve of ITU-R BT.709-6, item 1.2."""
    return np.where(display < 0.081, display / 4.5, ((display + 0.099) / 1.099) ** (1 / 0.45))


class ExrWriter:
    """Writes frames as `folder/name.1001.exr` and so on."""

    def __init__(self, folder: Path, name: str, rate: Fraction, transfer: Transfer, first_timecode: int) -> None:
        """`first_timecode` is the timecode of the first frame, counted in frames."""
        values = np.arange(2**16) / 65_535
        self._table = (to_linear(values) if transfer is Transfer.LINEAR else values).astype(np.float16)
        self._folder, self._name, self._rate, self._transfer = folder, name, rate, transfer
        self._first_timecode = first_timecode
        self._count = 0

    def write(self, frames: NDArray[np.uint16]) -> None:
        """Write (t, H, W, 3) levels. Raises OSError, and RuntimeError from OpenEXR."""
        import OpenEXR  # here: few need it

        for frame in frames:
            path = self._folder / f"{self._name}.{FIRST_FRAME + self._count:0{SEQUENCE_DIGITS}}.exr"
            OpenEXR.File(self._header(), {"RGB": self._table[frame]}).write(str(path))
            self._count += 1

    def _timecode(self) -> dict[str, object]:
        import OpenEXR

        if not exr_has_timecode(self._rate):
            return {}
        code = timecode(self._first_timecode + self._count, self._rate)
        return {"timeCode": OpenEXR.TimeCode(*map(int, code.split(":")), *_NO_USER_BITS)}

    def _header(self) -> dict[str, object]:
        import OpenEXR

        is_linear = self._transfer is Transfer.LINEAR
        return {
            "compression": OpenEXR.ZIP_COMPRESSION,
            "type": OpenEXR.scanlineimage,
            "chromaticities": BT709_PRIMARIES,
            "framesPerSecond": self._rate,
            **self._timecode(),
            "transfer": "linear" if is_linear else "BT.709",
            **({"colorInteropID": "lin_rec709_scene"} if is_linear else {}),
        }
