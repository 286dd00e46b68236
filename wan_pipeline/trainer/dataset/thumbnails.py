"""Small pictures of a dataset's images and clips, kept in the studio's cache."""

from __future__ import annotations

from pathlib import Path

from wan_pipeline.clips.thumbnail import thumbnail_name, write_thumbnail
from wan_pipeline.errors import ImageError
from wan_pipeline.settings import Settings
from wan_pipeline.trainer.dataset.folder import Item
from wan_pipeline.trainer.dataset.pixels import look_at

THUMBNAIL = (320, 320)
"""Pixels at most."""


def thumbnail_of(settings: Settings, item: Item) -> Path:
    """Where the thumbnail of an image or clip is, once it is made."""
    return settings.cache / "thumbnails" / thumbnail_name(item.path)


def make_thumbnail(settings: Settings, item: Item, fps: int) -> None:
    """A small picture of an image or of a clip's first frame, unless it is there. None of what cannot be decoded."""
    path = thumbnail_of(settings, item)
    if path.is_file():
        return
    try:
        image = look_at(item, fps, 1).image
    except (ImageError, OSError):
        return
    write_thumbnail(image, path, THUMBNAIL)
