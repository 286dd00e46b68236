"""What makes a clip's frames larger: takes them one by one, and gives larger ones in order, once they are ready."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from wan_pipeline.engine.network_files.levels import Levels
from wan_pipeline.engine.upscaler.files import upscalers_in
from wan_pipeline.engine.upscaler.frames import Tick, frame_upscaler
from wan_pipeline.engine.upscaler.seedvr.upscaler import seedvr_upscaler
from wan_pipeline.settings import Settings


class ClipUpscaler(Protocol):
    """For one clip."""

    @property
    def method(self) -> str:
        """By what, for the report."""

    @property
    def fills_device(self) -> bool:
        """Whether it needs the device's memory for itself."""

    def add(self, frame: Levels) -> Iterator[Levels]:
        """Take a frame; the larger frames that are ready with it. Raises GenerationError."""

    def end(self) -> Iterator[Levels]:
        """There are no more frames: the larger ones that are left. Raises GenerationError."""


def clip_upscaler(settings: Settings, factor: int, name: str = "", tick: Tick = lambda _: None) -> ClipUpscaler:
    """What makes frames (H, W, 3) of 16 bits `factor` times as wide and high; `name` is that of a file or a folder.

    Raises ModelError for a file that cannot be used.
    """
    file = upscalers_in(settings.upscalers).find(name)
    if file is not None and file.is_dir():
        return seedvr_upscaler(settings, factor, file, tick)
    return frame_upscaler(settings, factor, file, tick)
