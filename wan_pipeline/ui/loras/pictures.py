"""Pictures that lie beside LoRAs, small enough for a card."""

from __future__ import annotations

import io
import time
from collections.abc import Container
from pathlib import Path

from wan_pipeline.clips.inputs.images import read_rgb
from wan_pipeline.errors import ImageError
from wan_pipeline.lora.pairs import Lora
from wan_pipeline.lora.pictures import picture_beside

SIZE = (400, 400)
"""Pixels at most: a card is 264 wide or more."""
QUALITY = 75

Stamp = tuple[Path, int, int]
"""A file, its time of change in nanoseconds and its bytes."""


class CardPictures:
    """Reads each picture once, until its file changes."""

    def __init__(self) -> None:
        self._read: dict[Lora, tuple[Stamp, bytes]] = {}

    def small(self, lora: Lora, ends: float) -> bytes:
        """A WebP of the picture beside a LoRA. Empty without one, for one that cannot be read, and when it is not known
        yet and the time `ends`, of `time.monotonic`, has come."""
        try:
            path = picture_beside(lora.paths)
            stamp = None if path is None else (path, path.stat().st_mtime_ns, path.stat().st_size)
        except OSError:  # it has gone: the next look shows that
            return b""
        if stamp is None:
            self._read.pop(lora, None)
            return b""
        known = self._read.get(lora)
        if known and known[0] == stamp:
            return known[1]
        if time.monotonic() > ends:
            return b""
        self._read[lora] = stamp, _small(stamp[0])
        return self._read[lora][1]

    def forget_all_but(self, loras: Container[Lora]) -> None:
        self._read = {lora: read for lora, read in self._read.items() if lora in loras}


def _small(path: Path) -> bytes:
    try:
        picture = read_rgb(path)
    except ImageError:
        return b""
    picture.thumbnail(SIZE)
    encoded = io.BytesIO()
    picture.save(encoded, format="WEBP", quality=QUALITY)
    return encoded.getvalue()
