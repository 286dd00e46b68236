"""Small WebP pictures that stand for large files: input pictures, a dataset's items, pictures beside LoRAs."""

from __future__ import annotations

import hashlib
from pathlib import Path

from PIL import Image

from wan_pipeline.storage.files import whole_file

QUALITY = 80


def stamp_of(path: Path) -> str:
    """Size and time of a file, which tell whether it has changed."""
    try:
        facts = path.stat()
    except OSError:
        return "gone"
    return f"{facts.st_size} {facts.st_mtime_ns}"


def thumbnail_name(path: Path) -> str:
    """A name for the thumbnail of a file as it is now: another one once the file has changed."""
    facts = f"{path}\0{stamp_of(path)}".encode("utf-8", "surrogatepass")
    return f"{hashlib.sha256(facts).hexdigest()[:32]}.webp"


def write_thumbnail(image: Image.Image, path: Path, size: tuple[int, int]) -> None:
    """Write an image, no larger than `size` in pixels, as WebP. Raises StorageError.

    A file's image comes from `read_rgb`, which checks its size before it decodes it and turns it upright.
    """
    small = image.convert("RGB")  # a copy, in any mode
    small.thumbnail(size, Image.Resampling.LANCZOS)
    with whole_file(path) as part:
        small.save(part, format="WEBP", quality=QUALITY)
