"""Small pictures of a dataset's images and clips, kept in the studio's cache."""

from __future__ import annotations

import hashlib
from pathlib import Path

from PIL import Image

from wan_pipeline.errors import ImageError
from wan_pipeline.settings import Settings
from wan_pipeline.storage.files import whole_file
from wan_pipeline.trainer.dataset.folder import Item
from wan_pipeline.trainer.dataset.pixels import look_at

THUMBNAIL = (320, 320)
"""Pixels at most."""


def version_of(item: Item) -> str:
    """Size and time of a file, which tell whether it has changed."""
    try:
        facts = item.path.stat()
    except OSError:
        return "gone"
    return f"{facts.st_size} {facts.st_mtime_ns}"


def thumbnail_of(settings: Settings, item: Item) -> Path:
    """Where the thumbnail of an image or clip is, once it is made."""
    name = hashlib.sha256(f"{item.path}\0{version_of(item)}".encode("utf-8", "surrogatepass")).hexdigest()[:32]
    return settings.cache / "thumbnails" / f"{name}.webp"


def make_thumbnail(settings: Settings, item: Item, fps: int) -> None:
    """A small picture of an image or of a clip's first frame, unless it is there. None of what cannot be decoded."""
    path = thumbnail_of(settings, item)
    if path.is_file():
        return
    try:
        image = look_at(item, fps, 1).image
    except (ImageError, OSError):
        return
    image.thumbnail(THUMBNAIL, Image.Resampling.LANCZOS)
    with whole_file(path) as part:
        image.convert("RGB").save(part, format="WEBP", quality=80)
