"""SHA-256 of pictures, and of large files with a cache."""

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
    """Hash an RGB picture's size and pixels, in hex: the name of a normalised input image."""
    return hashlib.sha256(f"{image.width}x{image.height} RGB ".encode() + image.tobytes()).hexdigest()


class FileHashes:
    """Hashes of large files, cached on disk by path, size and modification time."""

    def __init__(self, cache: Path) -> None:
        self._cache = cache

    def sha256(self, path: Path, between: Callable[[], object] = lambda: None) -> str:
        """Hash the file's bytes, in hex. `between` is called after each chunk, and may raise to stop.

        Files of the Hugging Face cache are not read: they are named by their hash, which was checked at download.
        Raises OSError if the file cannot be read, StorageError if the cache cannot be written.
        """
        if known := self.known(path):
            return known
        cached = self._cached(path)
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                digest.update(chunk)
                between()
        with whole_file(cached) as part:
            part.write_text(digest.hexdigest(), encoding="ascii")
        return digest.hexdigest()

    def known(self, path: Path) -> str | None:
        """The hash if the file need not be read for it; else None. Raises OSError if there is no such file."""
        return _hub_blob_name(path) or _read(self._cached(path))

    def _cached(self, path: Path) -> Path:
        """The file that holds the hash."""
        facts = path.stat()
        key = f"{path.resolve()}\0{facts.st_size}\0{facts.st_mtime_ns}"
        return self._cache / f"{hashlib.sha256(key.encode('utf-8', 'surrogatepass')).hexdigest()}.txt"


def _hub_blob_name(path: Path) -> str | None:
    blob = path.resolve()
    return blob.name if blob.parent.name == "blobs" and SHA256.fullmatch(blob.name) else None


def _read(path: Path) -> str | None:
    try:
        text = path.read_bytes().decode("ascii", errors="replace")
    except FileNotFoundError:
        return None
    return text if SHA256.fullmatch(text) else None
