"""Datasets in the layouts of other trainers, copied into a folder of images and clips with captions beside them."""

from __future__ import annotations

import csv
import re
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any
from uuid import uuid4

from wan_pipeline.clips.inputs.sequence import SUFFIXES as IMAGE_SUFFIXES
from wan_pipeline.storage.files import check_room, storage_error
from wan_pipeline.storage.outside import OutsideDataError, parse, parse_json, read_toml_file
from wan_pipeline.storage.zips import DAMAGED_ZIP
from wan_pipeline.trainer.dataset.folder import (
    CAPTION_SUFFIX,
    CLIP_SUFFIXES,
    MAX_CAPTION_BYTES,
    MAX_ITEMS,
    DatasetError,
    read_items,
)

MAX_BYTES = 50 * 10**9
"""Of all files of a ZIP."""
PATHS = ("image_path", "video_path", "file_name", "image", "video", "file", "path")
"""Keys of a line that names a file: those of musubi-tuner, Hugging Face datasets and DiffSynth-Studio."""
CAPTIONS = ("caption", "prompt", "text")
FOLDERS = ("image_directory", "video_directory")
LISTS = ("image_jsonl_file", "video_jsonl_file")
"""Keys of a musubi-tuner dataset."""
CAPTION_EXTENSION = "caption_extension"
"""Its key for the files beside images and clips; `[general]` holds what its datasets do not say."""


@dataclass(frozen=True)
class _Named:
    """A file of another layout, and its caption."""

    path: Path
    caption: str


def import_dataset(source: Path, folder: Path) -> int:
    """Copy a dataset into a new folder, and return how many images and clips it holds.

    `source` is a ZIP of images and captions, a musubi-tuner TOML or JSONL, a `metadata.csv` of DiffSynth-Studio, or a
    folder. Raises DatasetError for what cannot be read, and StorageError.
    """
    if not source.exists():
        raise DatasetError(f"{source} is not there; name a folder, or a ZIP, TOML, JSONL or CSV file.")
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise DatasetError(f"{folder} is there already and no empty folder; name a new one for the dataset.")
    with _whole_folder(folder) as part:
        if source.suffix.lower() == ".zip":
            _unzip(source, part)
        else:
            _copy(source, part)
        return len(read_items(part))


@contextmanager
def _whole_folder(folder: Path) -> Iterator[Path]:
    """Give a new folder beside `folder`, which gets its name on success and is removed else. Raises StorageError."""
    folder = folder.resolve()
    part = folder.with_name(f".{folder.name}.{uuid4().hex[:8]}.part")
    try:
        part.mkdir(parents=True)
        yield part
        if folder.exists():
            folder.rmdir()
        part.rename(folder)
    except OSError as error:
        raise storage_error(folder, error) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _copy(source: Path, folder: Path) -> None:
    """Copy the files that a list or folder names, each with its caption."""
    files = list(islice(_named(source), MAX_ITEMS + 1))
    _check_count(source, len(files))
    if missing := next((one for one in files if not one.path.is_file()), None):
        raise DatasetError(f"{source.name} names {missing.path}, which is not there; put it there, or remove the line.")
    check_room(folder, sum(one.path.stat().st_size for one in files))
    for number, one in enumerate(files):
        target = folder / f"{number:05}{one.path.suffix.lower()}"
        shutil.copyfile(one.path, target)
        target.with_suffix(".txt").write_text(one.caption, encoding="utf-8")


def _check_count(source: Path, count: int) -> None:
    if not count:
        raise DatasetError(f"{source.name} names no images and no clips; docs/training.md says what can be imported.")
    if count > MAX_ITEMS:
        raise DatasetError(
            f"{source.name} names more than {MAX_ITEMS:,} images and clips; choose the best: 20 to 200 are usual."
        )


def _named(source: Path) -> Iterator[_Named]:
    try:
        if source.is_dir():
            yield from (_Named(item.path, item.caption) for item in read_items(source))
            return
        match source.suffix.lower():
            case ".csv":
                yield from _of_lines(source, _csv_lines(source))
            case ".jsonl":
                yield from _of_lines(source, _json_lines(source))
            case ".toml":
                yield from _of_musubi(source)
            case _:
                raise DatasetError(f"{source.name} is no dataset; name a folder, or a ZIP, TOML, JSONL or CSV file.")
    except (OutsideDataError, OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{source.name} cannot be read: {error}.") from error


def _of_musubi(source: Path) -> Iterator[_Named]:
    document = read_toml_file(source)
    general = parse(dict[str, Any], document.get("general", {}))
    for table in parse(list[dict[str, Any]], document.get("datasets", [])):
        captions = str((general | table).get(CAPTION_EXTENSION, CAPTION_SUFFIX))
        if not re.fullmatch(r"\.\w+", captions):
            raise DatasetError(f"{source.name} has the {CAPTION_EXTENSION} '{captions[:40]}'; use one such as .txt.")
        for key in FOLDERS:
            if key in table:
                folder = _find(source, str(table[key]))
                yield from (_Named(item.path, item.caption) for item in read_items(folder, captions))
        for key in LISTS:
            if key in table:
                path = _find(source, str(table[key]))
                yield from _of_lines(path, _json_lines(path))


def _find(source: Path, name: str) -> Path:
    """What a file names: relative to itself, or else to the working folder, as musubi-tuner reads it."""
    beside, here = source.parent / name, Path(name)
    return here if here.exists() and not beside.exists() else beside


def _of_lines(source: Path, lines: Iterator[dict[str, Any]]) -> Iterator[_Named]:
    for line in lines:
        path = next((line[key] for key in PATHS if isinstance(line.get(key), str)), None)
        caption = next((line[key] for key in CAPTIONS if isinstance(line.get(key), str)), "")
        if path is None:
            raise DatasetError(f"A line of {source.name} names no file; it needs one of: {', '.join(PATHS)}.")
        if Path(path).suffix.lower() in IMAGE_SUFFIXES | CLIP_SUFFIXES:
            yield _Named(_find(source, path), caption)


def _json_lines(source: Path) -> Iterator[dict[str, Any]]:
    with source.open(encoding="utf-8-sig") as file:
        yield from (parse(dict[str, Any], parse_json(line)) for line in file if line.strip())


def _csv_lines(source: Path) -> Iterator[dict[str, Any]]:
    with source.open(encoding="utf-8-sig", newline="") as file:
        yield from csv.DictReader(file)


def _unzip(source: Path, folder: Path) -> None:
    """Unpack images, clips and captions; what else is in the archive is left out. No path leads out of the folder."""
    try:
        with zipfile.ZipFile(source) as archive:
            members = [member for member in archive.infolist() if _is_wanted(member)]
            _check_count(source, sum(_is_item(member) for member in members))
            size = sum(member.file_size for member in members)
            if size > MAX_BYTES:
                raise DatasetError(f"{source.name} holds more than {MAX_BYTES / 1e9:.0f} GB; choose the best of it.")
            check_room(folder, size)
            for member in members:
                archive.extract(member, folder)  # which drops `..` and roots
    except DAMAGED_ZIP as error:
        raise DatasetError(f"{source.name} cannot be unpacked: {error}.") from error


def _is_wanted(member: zipfile.ZipInfo) -> bool:
    name = PurePosixPath(member.filename)
    is_caption = name.suffix.lower() == ".txt" and member.file_size <= MAX_CAPTION_BYTES
    return not member.is_dir() and not name.name.startswith(".") and (is_caption or _is_item(member))


def _is_item(member: zipfile.ZipInfo) -> bool:
    return PurePosixPath(member.filename).suffix.lower() in IMAGE_SUFFIXES | CLIP_SUFFIXES
