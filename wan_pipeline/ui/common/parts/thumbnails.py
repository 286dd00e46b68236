"""Small pictures of the workspace's input pictures: the files themselves are served to nobody."""

from __future__ import annotations

import logging
from pathlib import Path

from gradio.utils import get_upload_folder
from PIL import Image

from wan_pipeline.errors import UserError
from wan_pipeline.requests.pictures import Pictures
from wan_pipeline.requests.request import GenerationRequest
from wan_pipeline.storage.files import whole_file

SIZE = (304, 182)
"""Pixels at most: twice those of a row's picture, for dense screens."""

logger = logging.getLogger(__name__)


class Thumbnails:
    """They lie among Gradio's files, which it serves until the app ends, and are made when they are first shown."""

    def __init__(self, inputs: Pictures) -> None:
        self._inputs = inputs
        self._folder = Path(get_upload_folder()) / "thumbnails"
        self._without: set[str] = set()
        """Names of pictures that cannot be read."""

    def of(self, request: GenerationRequest) -> Path | None:
        """Thumbnail of the first input picture; None without one, or if it cannot be read any more."""
        name = next(filter(None, (request.image, request.last_image, *request.reference_images)), None)
        return None if name is None else self.of_picture(name)

    def of_picture(self, name: str) -> Path | None:
        """Thumbnail of the input picture of that name; None if it cannot be read any more."""
        if name in self._without:
            return None
        thumbnail = self._folder / f"{name}.webp"
        if thumbnail.is_file():
            return thumbnail
        source = self._inputs.find(name)
        try:
            if source is not None:
                self._make(source, thumbnail)
                return thumbnail
        except FileNotFoundError:  # it may be added again
            return None
        except (UserError, OSError) as error:
            logger.info("No thumbnail of %s: %s", name, error)
        self._without.add(name)
        return None

    def _make(self, source: Path, thumbnail: Path) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        with Image.open(source) as picture, whole_file(thumbnail) as part:
            picture.thumbnail(SIZE)
            picture.convert("RGB").save(part, format="WEBP", quality=80)
