"""SHA-256 of pictures, and of files too large to read at every use."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from wan_pipeline.storage.files import whole_file

SHA256 = re.compile("[0-9a-f]{64}")
CHUNK_BYTES = 8 * 2**20


def pixels_sha256(image: Image.Image) -> str:
    """Of an RGB picture's size and pixels, in hex: the name of a normalised input image."""
    return hashlib.sha256(f"{image.width}x{image.height} RGB ".encode() + image.tobytes()).hexdigest()


class FileHashes:
    """Reads a file once, and again when its name, size or time of change is another. What it finds is kept on disk."""

    def __init__(self, cache: Path) -> None:
        self._cache = cache

    def sha256(self, path: Path, between: Callable[[], object] = lambda: None) -> str:
        """Of the file's bytes, in hex. `between` is called after each chunk, and may raise to stop.

        What the Hugging Face cache holds is named by it, and was checked when it was downloaded: that is not read.

        Raises OSError if the file cannot be read, StorageError if the cache cannot be written.
        """
        if published := _published(path):
            return published
        facts = path.stat()
        name = f"{path.resolve()}\0{facts.st_size}\0{facts.st_mtime_ns}"
        kept = self._cache / f"{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()}.txt"
        if known := _read(kept):
            return known
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                digest.update(chunk)
                between()
        with whole_file(kept) as part:
            part.write_text(digest.hexdigest(), encoding="ascii")
        return digest.hexdigest()


def _published(path: Path) -> str | None:
    blob = path.resolve()
    return blob.name if blob.parent.name == "blobs" and SHA256.fullmatch(blob.name) else None


def _read(path: Path) -> str | None:
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return None
    return text.decode("ascii") if len(text) == 64 and text.isalnum() else None
