"""Small pictures of what waiting clips are made from."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from gradio.utils import get_upload_folder
from PIL import Image

from wan_pipeline.clips.inputs.files import InputFiles
from wan_pipeline.errors import UserError
from wan_pipeline.requests.request import GenerationRequest
from wan_pipeline.storage.files import whole_file

SIZE = (304, 182)
"""Pixels at most: twice those of a row's picture, for dense screens."""


class Thumbnails:
    """They lie in Gradio's cache, which it serves and empties, and are made when they are first shown."""

    def __init__(self, inputs: Path) -> None:
        self._inputs = InputFiles(inputs)
        self._folder = Path(get_upload_folder()) / "thumbnails"

    def of(self, request: GenerationRequest) -> Path | None:
        """Of the first input picture; None without one, or if it cannot be read any more."""
        name = next(filter(None, (request.image, request.last_image, *request.reference_images)), None)
        source = self._inputs.find(name) if name else None
        if source is None:
            return None
        thumbnail = self._folder / f"{source.stem}.webp"
        if not thumbnail.is_file():
            with suppress(UserError, OSError):
                self._make(source, thumbnail)
        return thumbnail if thumbnail.is_file() else None

    def _make(self, source: Path, thumbnail: Path) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        with Image.open(source) as picture, whole_file(thumbnail) as part:
            picture.thumbnail(SIZE)
            picture.convert("RGB").save(part, format="WEBP", quality=80)
