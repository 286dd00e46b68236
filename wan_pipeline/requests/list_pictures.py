"""Where the images that a list names come from. A list comes from anywhere, so it reads only what it may."""

from __future__ import annotations

import zipfile
from pathlib import Path

from wan_pipeline.errors import UserError

LIST_NAME = "queue.jsonl"
IMAGE_FOLDER = "images/"
MAX_IMAGE_BYTES = 128 * 2**20
MAX_ALL_IMAGES_BYTES = 2 * 2**30


class ImageSource:
    """Where the images that rows name are found: nowhere, unless a subclass knows better."""

    def find(self, name: str) -> Path:
        """The image's file. Raises UserError."""
        raise UserError(
            f"The image '{name[:80]}' cannot be taken from another computer's disk; put it with the list, "
            f"as {LIST_NAME}, into a ZIP file, in the folder {IMAGE_FOLDER[:-1]}."
        )


class ImagesOnDisk(ImageSource):
    """For files of the person at this computer: names are relative to the list."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find(self, name: str) -> Path:
        return self._folder / name


class ImagesInArchive(ImageSource):
    """Images of a ZIP, copied to a folder of ours when they are asked for."""

    def __init__(self, archive: zipfile.ZipFile, folder: Path) -> None:
        self._archive = archive
        self._folder = folder
        self._found: dict[str, Path] = {}
        self._bytes = 0

    def find(self, name: str) -> Path:
        if name not in self._found:
            content = member(self._archive, name, MAX_IMAGE_BYTES)
            self._bytes += len(content)
            if self._bytes > MAX_ALL_IMAGES_BYTES:
                raise UserError(f"The images are larger than {MAX_ALL_IMAGES_BYTES // 2**30} GB; split the list.")
            target = self._folder / f"{len(self._found)}.image"
            target.write_bytes(content)
            self._found[name] = target
        return self._found[name]


def member(archive: zipfile.ZipFile, name: str, limit: int) -> bytes:
    """One file of a ZIP, by its exact name. However small it is packed, no more than `limit` bytes are unpacked."""
    try:
        with archive.open(name) as file:
            content = file.read(limit + 1)
    except KeyError:
        raise UserError(f"The ZIP file holds no {name[:80]}; export it again.") from None
    return checked_size(content, name, limit)


def checked_size(content: bytes, name: str, limit: int) -> bytes:
    if len(content) > limit:
        raise UserError(f"{name[:80]} is larger than {limit // 2**20} MB, which is too much here; make it smaller.")
    return content
