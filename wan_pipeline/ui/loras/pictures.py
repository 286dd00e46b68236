"""Pictures that lie beside LoRAs, small enough for a card."""

from __future__ import annotations

import time
from pathlib import Path

from wan_pipeline.clips.thumbnail import thumbnail_name
from wan_pipeline.lora.pairs import Lora
from wan_pipeline.lora.pictures import picture_beside
from wan_pipeline.ui.common.parts.thumbnails import ServedThumbnails

SIZE = (400, 400)
"""Pixels at most: a card is 264 wide or more."""


class CardPictures:
    """Makes each thumbnail once, until its picture changes."""

    def __init__(self) -> None:
        self._thumbnails = ServedThumbnails(SIZE)

    def small(self, lora: Lora, ends: float) -> Path | None:
        """A thumbnail of the picture beside a LoRA, where Gradio serves it. None without one, for one that cannot be
        read, and when it is not made yet and the time `ends`, of `time.monotonic`, has come."""
        try:
            picture = picture_beside(lora.paths)
        except OSError:  # it has gone: the next look shows that
            return None
        if picture is None:
            return None
        name = thumbnail_name(picture)
        if time.monotonic() > ends and not self._thumbnails.is_known(name):
            return None
        return self._thumbnails.of(picture, name)
