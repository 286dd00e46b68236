"""The exports of one workspace, for the command line and the owner's page."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from wan_pipeline.clips.export.order import Exported, ExportOrder
from wan_pipeline.clips.gallery import Gallery
from wan_pipeline.errors import UserError
from wan_pipeline.jobs.device import device_without_queue
from wan_pipeline.jobs.handover.export import export
from wan_pipeline.progress import Observer
from wan_pipeline.settings import Settings


class Exports:
    """Finds clips by what a person calls them, and writes them for other programs."""

    def __init__(self, settings: Settings, gallery: Gallery) -> None:
        self._settings, self._gallery = settings, gallery

    def find(self, name: str) -> Path:
        """The MP4 of a path, or of the clip in the gallery whose id begins so. Raises UserError."""
        path = Path(name)
        if path.is_file():
            return path
        if found := self._gallery.find(name):
            return found.path
        raise UserError(f"There is no clip '{name[:200]}'; name an MP4 file, or the id of a clip of the gallery.")

    def write(self, clip: Path, order: ExportOrder, observer: Observer) -> Exported:
        """Write a clip in this process; it waits for the device if there are latents to decode.

        Raises what `jobs.handover.export.export` raises.
        """
        return export(clip, order, self._settings, observer, partial(device_without_queue, self._settings, observer))
