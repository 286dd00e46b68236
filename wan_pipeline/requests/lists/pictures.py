"""Sources of the pictures and videos that a list names. A list from elsewhere must not read this computer's disk."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Protocol

from wan_pipeline.errors import UserError
from wan_pipeline.requests import options

LIST_NAME = "queue.jsonl"
PICTURE_FOLDER = "images/"
MAX_PICTURE_BYTES = 128 * 2**20
MAX_ALL_PICTURES_BYTES = 2 * 2**30


class PictureSource(Protocol):
    def find(self, name: str) -> Path:
        """The file that a row names. Raises UserError."""


class NoPictures:
    """For a list from another computer without its pictures."""

    def find(self, name: str) -> Path:
        raise UserError(
            f"The image '{name[:80]}' cannot be taken from another computer's disk; put it with the list, "
            f"as {LIST_NAME}, into a ZIP file, in the folder {PICTURE_FOLDER[:-1]}."
        )


class PicturesOnDisk:
    """For a list of the person at this computer: names are relative to the list's folder, `~` is the home folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find(self, name: str) -> Path:
        return self._folder / options.path(name)


class PicturesInArchive:
    """Pictures of a ZIP, unpacked to a folder, under new names, when they are asked for."""

    def __init__(self, archive: zipfile.ZipFile, folder: Path) -> None:
        self._archive = archive
        self._folder = folder
        self._copies: dict[str, Path] = {}
        self._bytes = 0

    def find(self, name: str) -> Path:
        if name not in self._copies:
            content = read_member(self._archive, name, MAX_PICTURE_BYTES)
            self._bytes += len(content)
            if self._bytes > MAX_ALL_PICTURES_BYTES:
                raise UserError(f"The images are larger than {MAX_ALL_PICTURES_BYTES // 2**30} GB; split the list.")
            copy = self._folder / f"{len(self._copies)}.image"
            copy.write_bytes(content)
            self._copies[name] = copy
        return self._copies[name]


def read_member(archive: zipfile.ZipFile, name: str, max_bytes: int) -> bytes:
    """Read one file of a ZIP, unpacking at most `max_bytes`, however small it is packed. Raises UserError."""
    try:
        with archive.open(name) as file:
            content = file.read(max_bytes + 1)
    except KeyError:
        raise UserError(f"The ZIP file holds no {name[:80]}; export it again.") from None
    return check_size(content, name, max_bytes)


def check_size(content: bytes, name: str, max_bytes: int) -> bytes:
    if len(content) > max_bytes:
        raise UserError(f"{name[:80]} is larger than {max_bytes // 2**20} MB, which is too much here; make it smaller.")
    return content
