"""Small pictures of files that are served to nobody themselves."""

from __future__ import annotations

import logging
from pathlib import Path

from gradio.utils import get_upload_folder

from wan_pipeline.clips.inputs.images import read_rgb
from wan_pipeline.clips.thumbnail import write_thumbnail
from wan_pipeline.errors import UserError
from wan_pipeline.requests.inputs.pictures import Pictures
from wan_pipeline.requests.request import GenerationRequest

SIZE = (304, 182)
"""Pixels at most: twice those of a row's picture, for dense screens."""

logger = logging.getLogger(__name__)


class ServedThumbnails:
    """They lie among Gradio's files, which it serves to the owner until the app ends, and are made when they are first
    shown. Threads may share them.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        """`size` in pixels at most."""
        self._size = size
        self._folder = Path(get_upload_folder()) / "thumbnails"
        self._without: set[str] = set()
        """Names for pictures that cannot be read."""

    def is_known(self, name: str) -> bool:
        """Whether `of` has nothing to do any more."""
        return name in self._without or (self._folder / name).is_file()

    def of(self, picture: Path, name: str) -> Path | None:
        """The thumbnail of this file name, of `picture`; None if that cannot be read any more."""
        thumbnail = self._folder / name
        if self.is_known(name):
            return None if name in self._without else thumbnail
        try:
            write_thumbnail(read_rgb(picture), thumbnail, self._size)
        except (UserError, OSError) as error:
            if picture.is_file():  # else it may be added again
                logger.info("No thumbnail of %s: %s", picture.name, error)
                self._without.add(name)
            return None
        return thumbnail


class Thumbnails:
    """Those of the workspace's input pictures."""

    def __init__(self, inputs: Pictures) -> None:
        self._inputs, self._served = inputs, ServedThumbnails(SIZE)

    def of(self, request: GenerationRequest) -> Path | None:
        """Thumbnail of the first input picture; None without one, or if it cannot be read any more."""
        name = next(filter(None, (request.image, request.last_image, *request.reference_images)), None)
        return None if name is None else self.of_picture(name)

    def of_picture(self, name: str) -> Path | None:
        """Thumbnail of the input picture of that name; None if it cannot be read any more."""
        picture = self._inputs.find(name)
        return None if picture is None else self._served.of(picture, f"{name}.webp")
