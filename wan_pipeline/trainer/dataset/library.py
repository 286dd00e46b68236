"""The datasets of a workspace: a folder each, whose files and captions the page changes. No torch."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path

from wan_pipeline.clips.inputs.sequence import SUFFIXES as IMAGE_SUFFIXES
from wan_pipeline.storage.files import check_room, storage_error, whole_file
from wan_pipeline.storage.main_app import CheckMainApp, main_app_only, unchecked
from wan_pipeline.trainer.dataset.folder import (
    CAPTION_SUFFIX,
    CLIP_SUFFIXES,
    MAX_CAPTION_BYTES,
    DatasetError,
    Item,
    read_items,
)
from wan_pipeline.trainer.dataset.importing import import_dataset
from wan_pipeline.trainer.dataset.tags import has_tag, with_tag, without_tag
from wan_pipeline.trainer.files.naming import is_file_name

ZIP_SUFFIX = ".zip"
TAKEN = IMAGE_SUFFIXES | CLIP_SUFFIXES | {CAPTION_SUFFIX, ZIP_SUFFIX}
"""Ends of the names of files that a dataset takes."""


_Files = list[tuple[str, int, int]]
"""Path, size and time of every file of a folder."""


class Datasets:
    """Every method raises DatasetError for an invalid name, and StorageError."""

    def __init__(self, folder: Path, check_main_app: CheckMainApp = unchecked) -> None:
        self._folder = folder
        self._check_main_app = check_main_app
        self._known: dict[str, tuple[_Files, list[Item]]] = {}
        """What was read last: captions are read again only when a file has changed."""

    def names(self) -> list[str]:
        with suppress(FileNotFoundError):
            return sorted(path.name for path in self._folder.iterdir() if path.is_dir() and is_file_name(path.name))
        return []

    def folder(self, name: str) -> Path:
        """Where a dataset is, whether or not it is there yet."""
        if not is_file_name(name):
            raise DatasetError(
                f"'{name[:80]}' cannot be the name of a dataset; use up to 80 letters, digits, spaces and . _ + -."
            )
        return self._folder / name

    def items(self, name: str) -> list[Item]:
        """Its images and clips with their captions, by name; none of a dataset that is empty or not there yet."""
        folder = self.folder(name)
        files = _files(folder)
        if not any(Path(path).suffix.lower() in IMAGE_SUFFIXES | CLIP_SUFFIXES for path, _, _ in files):
            return []
        known = self._known.get(name)
        if known is None or known[0] != files:
            known = self._known[name] = files, read_items(folder)
        return known[1]

    @main_app_only
    def add(self, name: str, files: Sequence[Path]) -> int:
        """Copy images, clips, their captions, and what is in ZIPs, into a dataset, which is made if need be.

        Returns how many files were copied. A file whose name is taken gets a number, and its caption the same.
        """
        folder = self.folder(name)
        if wrong := next((file for file in files if file.suffix.lower() not in TAKEN), None):
            raise DatasetError(
                f"{wrong.name} is no image, clip, caption or ZIP; files of these kinds are taken: "
                f"{', '.join(sorted(TAKEN))}."
            )
        check_room(folder, sum(file.stat().st_size for file in files))
        zips = [file for file in files if file.suffix.lower() == ZIP_SUFFIX]
        others = [file for file in files if file not in zips]
        copied = sum(import_dataset(file, _free_folder(folder, file.stem)) for file in zips)
        for stem, of_stem in _by_stem(others).items():
            target = _free_stem(folder, stem, of_stem)
            for file in of_stem:
                _copy(file, folder / f"{target}{file.suffix.lower()}")
        return copied + len(others)

    @main_app_only
    def add_captioned(self, name: str, files: Sequence[tuple[Path, str]]) -> int:
        """Copy clips with their captions into a dataset; those that are in it by their name are left out."""
        folder = self.folder(name)
        new = [(file, caption) for file, caption in files if not (folder / file.name).exists()]
        check_room(folder, sum(file.stat().st_size for file, _ in new))
        for file, caption in new:
            _write_caption((folder / file.name).with_suffix(CAPTION_SUFFIX), caption)
            _copy(file, folder / file.name)
        return len(new)

    @main_app_only
    def write_caption(self, name: str, item: str, caption: str) -> None:
        _write_caption(self._item(name, item).path.with_suffix(CAPTION_SUFFIX), " ".join(caption.split()))

    @main_app_only
    def replace(self, name: str, find: str, put: str) -> int:
        """Replace words in all captions. Returns how many captions changed."""
        if not find:
            raise DatasetError("There is nothing to find; type the words that are to be replaced.")
        changed = [item for item in self.items(name) if find in item.caption]
        for item in changed:
            caption = " ".join(item.caption.replace(find, put).split())
            _write_caption(item.path.with_suffix(CAPTION_SUFFIX), caption)
        return len(changed)

    @main_app_only
    def add_tag(self, name: str, tag: str, among: str = "") -> int:
        """Add a tag to all captions that lack it, or to those of them that have the tag `among`.

        Returns how many captions changed.
        """
        tag = " ".join(tag.split()).strip(" ,")
        if not tag or "," in tag:
            raise DatasetError("There is nothing to add; type one tag, without a comma.")
        return self._change(name, lambda caption: with_tag(caption, tag), among)

    @main_app_only
    def remove_tag(self, name: str, tag: str) -> int:
        """Take a tag out of all captions. Returns how many captions changed."""
        return self._change(name, lambda caption: without_tag(caption, tag), tag)

    def _change(self, name: str, change: Callable[[str], str], among: str) -> int:
        """Change the captions that have a tag; all of them without one."""
        count = 0
        for item in self.items(name):
            caption = change(item.caption) if not among or has_tag(item.caption, among) else item.caption
            if caption != item.caption:
                _write_caption(item.path.with_suffix(CAPTION_SUFFIX), caption)
                count += 1
        return count

    @main_app_only
    def remove_item(self, name: str, item: str) -> None:
        """Remove an image or clip and its caption from a dataset."""
        path = self._item(name, item).path
        try:
            for file in (path, path.with_suffix(CAPTION_SUFFIX)):
                file.unlink(missing_ok=True)
        except OSError as error:
            raise storage_error(path.parent, error) from error

    def _item(self, name: str, item: str) -> Item:
        """Only what is listed is ever changed: a name from a page is no path."""
        found = next((each for each in self.items(name) if each.name == item), None)
        if found is None:
            raise DatasetError(f"There is no '{item[:80]}' in the dataset {name} any more; look at the list.")
        return found


def _files(folder: Path) -> _Files:
    found = []
    for path in sorted(folder.rglob("*")):
        with suppress(OSError):  # it has just gone
            facts = path.stat()
            found.append((str(path), facts.st_size, facts.st_mtime_ns))
    return found


def _by_stem(files: Sequence[Path]) -> dict[str, list[Path]]:
    """Files that belong together, by the name that they share."""
    found: dict[str, list[Path]] = {}
    for file in files:
        found.setdefault(file.stem, []).append(file)
    return found


def _free_stem(folder: Path, stem: str, files: Sequence[Path]) -> str:
    """The stem, or one with a number where it is taken. A caption alone goes to the picture of its name."""
    if all(file.suffix.lower() == CAPTION_SUFFIX for file in files):
        return stem
    taken = {path.stem for path in folder.glob("*")} if folder.is_dir() else set()
    return next(each for each in _numbered(stem) if each not in taken)


def _free_folder(folder: Path, stem: str) -> Path:
    return next(folder / each for each in _numbered(stem) if not (folder / each).exists())


def _numbered(stem: str) -> Iterator[str]:
    yield stem
    yield from (f"{stem} ({number})" for number in count(2))


def _copy(file: Path, target: Path) -> None:
    with whole_file(target) as part:
        shutil.copyfile(file, part)


def _write_caption(path: Path, caption: str) -> None:
    if len(caption.encode()) > MAX_CAPTION_BYTES:
        raise DatasetError(
            f"The caption '{caption[:40]}' has {len(caption.encode()):,} bytes; shorten it to {MAX_CAPTION_BYTES:,}."
        )
    with whole_file(path) as part:
        part.write_text(caption, encoding="utf-8")
