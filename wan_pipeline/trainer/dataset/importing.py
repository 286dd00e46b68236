"""Datasets in the layouts of other trainers, copied into a folder of images and clips with captions beside them."""

from __future__ import annotations

import csv
import shutil
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from wan_pipeline.clips.inputs.sequence import SUFFIXES as IMAGE_SUFFIXES
from wan_pipeline.storage.files import check_room, storage_error
from wan_pipeline.storage.outside import OutsideDataError, parse, parse_json, read_toml_file
from wan_pipeline.trainer.dataset.folder import CLIP_SUFFIXES, MAX_CAPTION_BYTES, MAX_ITEMS, DatasetError, read_items

MAX_BYTES = 50 * 10**9
"""Of all files of a ZIP."""
PATHS = ("image_path", "video_path", "file_name", "image", "video", "file", "path")
"""Keys of a line that names a file: those of musubi-tuner, Hugging Face datasets and DiffSynth-Studio."""
CAPTIONS = ("caption", "prompt", "text")
FOLDERS = ("image_directory", "video_directory")
LISTS = ("image_jsonl_file", "video_jsonl_file")
"""Keys of a musubi-tuner dataset, with paths relative to where it is run, or to its file."""


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
    if folder.exists() and any(folder.iterdir()):
        raise DatasetError(f"The folder {folder} is not empty; name a new one for the dataset.")
    if source.suffix.lower() == ".zip":
        _unzip(source, folder)
        return len(read_items(folder))
    files = list(_named(source))[: MAX_ITEMS + 1]
    if missing := next((one for one in files if not one.path.is_file()), None):
        raise DatasetError(f"{source.name} names {missing.path}, which is not there; put it there, or remove the line.")
    if not files:
        raise DatasetError(f"{source.name} names no images and no clips; docs/training.md says what can be imported.")
    check_room(folder, sum(one.path.stat().st_size for one in files))
    for number, one in enumerate(files):
        target = folder / f"{number:05}{one.path.suffix.lower()}"
        try:
            shutil.copyfile(one.path, target)
            target.with_suffix(".txt").write_text(one.caption, encoding="utf-8")
        except OSError as error:
            raise storage_error(folder, error) from error
    return len(read_items(folder))


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
    for table in parse(list[dict[str, Any]], read_toml_file(source).get("datasets", [])):
        for key in FOLDERS:
            if key in table:
                folder = source.parent / str(table[key])
                yield from (_Named(item.path, item.caption) for item in read_items(folder))
        for key in LISTS:
            if key in table:
                path = source.parent / str(table[key])
                yield from _of_lines(path, _json_lines(path))


def _of_lines(source: Path, lines: Iterator[dict[str, Any]]) -> Iterator[_Named]:
    for line in lines:
        path = next((line[key] for key in PATHS if isinstance(line.get(key), str)), None)
        caption = next((line[key] for key in CAPTIONS if isinstance(line.get(key), str)), "")
        if path is None:
            raise DatasetError(f"A line of {source.name} names no file; it needs one of: {', '.join(PATHS)}.")
        if Path(path).suffix.lower() in IMAGE_SUFFIXES | CLIP_SUFFIXES:
            yield _Named(source.parent / path, caption)


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
            if len(members) > 2 * MAX_ITEMS or sum(member.file_size for member in members) > MAX_BYTES:
                raise DatasetError(
                    f"{source.name} holds too much; {MAX_ITEMS:,} files and {MAX_BYTES / 1e9:.0f} GB are taken."
                )
            check_room(folder, sum(member.file_size for member in members))
            for member in members:
                archive.extract(member, folder)  # which drops `..` and roots
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise DatasetError(f"{source.name} cannot be unpacked: {error}.") from error
    except OSError as error:
        raise storage_error(folder, error) from error


def _is_wanted(member: zipfile.ZipInfo) -> bool:
    name = PurePosixPath(member.filename)
    is_caption = name.suffix.lower() == ".txt" and member.file_size <= MAX_CAPTION_BYTES
    is_item = name.suffix.lower() in IMAGE_SUFFIXES | CLIP_SUFFIXES
    return not member.is_dir() and not name.name.startswith(".") and (is_caption or is_item)
