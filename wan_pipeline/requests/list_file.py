"""Many clips as one file: CSV from a spreadsheet, JSONL from a script, or a ZIP with JSONL and the input images.

Columns and keys are named as the options of `generate`. A file comes from anywhere, so nothing in it is believed: its
sizes are bounded, images of a ZIP are read by name and written under names of our own.
"""

from __future__ import annotations

import csv
import io
import json
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wan_pipeline.errors import UserError
from wan_pipeline.requests import options
from wan_pipeline.requests.list_pictures import (
    IMAGE_FOLDER,
    LIST_NAME,
    ImagesInArchive,
    ImagesOnDisk,
    ImageSource,
    checked_size,
    member,
)
from wan_pipeline.requests.request import Draft
from wan_pipeline.storage.files import whole_file

MAX_LIST_BYTES = 16 * 2**20
MAX_ROWS = 5000
CSV_TEMPLATE = """\
prompt,negative-prompt,preset,seed,steps,guidance,width,height,frames,fps,image,model,lora,project
a red ball bounces over green hills,,natural,1,,,,,,,,,,hills
"a blue fish swims left, slowly",,,2,12,3.5,,,,,,,,sea
"""
"""Two rows to overwrite. An empty cell leaves the choice to preset and model."""

_OPTIONS = {option.name: option for option in options.OPTIONS}
_FILES = {option.name: option for option in options.FILES}
_COLUMNS = (*_OPTIONS, "lora", "reference-image", "project")
_TEXTS = ("prompt", "negative-prompt")
"""What may be empty and mean it."""


@dataclass(frozen=True)
class Row:
    """One clip to make. `number` is its row in the spreadsheet or its line in the file, from 1."""

    number: int
    draft: Draft
    project: str = ""


@dataclass(frozen=True)
class QueueFile:
    rows: tuple[Row, ...]
    """The good ones."""
    bad_rows: tuple[tuple[int, str], ...] = ()
    """The numbers of the others, and why they cannot be made."""

    @property
    def problems(self) -> tuple[str, ...]:
        """One sentence for each bad row, in their order."""
        return tuple(f"Row {number}: {reason}" for number, reason in sorted(self.bad_rows))

    def check(self, skip_bad: bool) -> None:
        """Raise UserError if there are bad rows that are not to be skipped, or no good ones."""
        bad, count = len(self.bad_rows), len(self.bad_rows) + len(self.rows)
        if bad and not (skip_bad and self.rows):
            more = f" (and {bad - 1} more)" if bad > 1 else ""
            raise UserError(f"Nothing was queued: {bad} of {count} rows cannot be made. {self.problems[0]}{more}")
        if not self.rows:
            raise UserError("The file holds no clips; write one a row below the names of the columns.")


def check_rows(content: QueueFile, check: Callable[[Draft], object]) -> QueueFile:
    """Move the rows for which `check` raises UserError to the bad ones."""
    good: list[Row] = []
    bad = list(content.bad_rows)
    for row in content.rows:
        try:
            check(row.draft)
            good.append(row)
        except UserError as error:
            bad.append((row.number, str(error)))
    return QueueFile(tuple(good), tuple(bad))


def read_queue_file(path: Path, folder: Path, *, own_disk: bool) -> QueueFile:
    """The rows of a CSV, JSONL or ZIP file. Raises UserError when it is none of these or has unknown columns.

    Images of a ZIP are written to `folder`. `own_disk`: rows may name images on this computer's disk.
    """
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                text = _decoded(member(archive, LIST_NAME, MAX_LIST_BYTES), path)
                return _collected(_json_rows(text), ImagesInArchive(archive, folder))
        text = _decoded(_bounded(path), path)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError) as error:
        raise UserError(f"{path.name} is a ZIP file that cannot be read ({error}); export it again.") from error
    except OSError as error:
        raise UserError(f"{path.name} cannot be read ({error.strerror}); choose another file.") from error
    rows = _json_rows(text) if _looks_like_json(text, path) else _csv_rows(text, path)
    return _collected(rows, ImagesOnDisk(path.parent) if own_disk else ImageSource())


def write_queue_file(rows: Sequence[Row], target: Path) -> None:
    """The inverse: a JSONL file, or, if the target ends in .zip, one with the input images. Raises StorageError."""
    pictures = {path for row in rows for path in row.draft.files}
    if pictures and target.suffix.lower() != ".zip":
        count = f"{len(pictures)} input image{'s' if len(pictures) > 1 else ''}"
        raise UserError(f"The queue uses {count}, which {target.name} cannot hold; choose a name that ends in .zip.")
    lines = "".join(json.dumps(_to_values(row), ensure_ascii=False) + "\n" for row in rows)
    with whole_file(target) as part:
        if target.suffix.lower() != ".zip":
            part.write_text(lines, encoding="utf-8", newline="\n")
            return
        with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(LIST_NAME, lines)
            for picture in sorted(pictures):
                archive.write(picture, f"{IMAGE_FOLDER}{picture.name}", zipfile.ZIP_STORED)


# Rows of each kind of file: their number, and their values by column; a UserError in their place if they have none.

_Values = Mapping[str, Any] | UserError


def _looks_like_json(text: str, path: Path) -> bool:
    return path.suffix.lower() in (".json", ".jsonl", ".ndjson") or text.lstrip().startswith("{")


def _csv_rows(text: str, path: Path) -> Iterator[tuple[int, _Values]]:
    """As a spreadsheet numbers them: the header is row 1. Commas, semicolons and tabs are told apart by the header."""
    header_line = text.partition("\n")[0]
    delimiter = max(",;\t", key=header_line.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        columns = _checked_columns(next(reader, []), path)
        for number, cells in enumerate(reader, 2):
            if not any(cell.strip() for cell in cells):
                continue
            if any(cell.strip() for cell in cells[len(columns) :]):
                yield number, UserError(f"It has {len(cells)} cells, the header {len(columns)}; quote commas in texts.")
            else:
                yield number, {name: cell for name, cell in zip(columns, cells, strict=False) if cell.strip()}
    except csv.Error as error:
        raise UserError(f"{path.name} is no CSV file after line {reader.line_num} ({error}); save it again.") from error


def _checked_columns(header: list[str], path: Path) -> list[str]:
    columns = [cell.strip().lower().replace("_", "-") for cell in header]
    while columns and not columns[-1]:
        columns.pop()
    for number, column in enumerate(columns):
        if column not in _COLUMNS:
            raise UserError(f"{path.name} has an unknown column '{column[:80]}'; known: {', '.join(_COLUMNS)}.")
        if column in columns[:number]:
            raise UserError(f"{path.name} has two columns '{column}'; keep one of them.")
    if not columns:
        raise UserError(f"{path.name} is empty; its first row must name the columns, such as prompt,seed.")
    return columns


def _json_rows(text: str) -> Iterator[tuple[int, _Values]]:
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield number, _json_values(line)


def _json_values(line: str) -> _Values:
    try:
        values = json.loads(line)
    except (ValueError, RecursionError) as error:
        return UserError(f"It is no JSON object ({error}); write one object a line.")
    if not isinstance(values, dict):
        return UserError(f"It is a JSON {type(values).__name__}, not an object; write one object a line.")
    named = {str(key).lower().replace("_", "-"): value for key, value in values.items() if value is not None}
    unknown = next((name for name in named if name not in _COLUMNS), None)
    if unknown is not None:
        return UserError(f"Its key '{unknown[:80]}' is unknown; known: {', '.join(_COLUMNS)}.")
    return {name: value for name, value in named.items() if value != "" or name in _TEXTS}


# From values to drafts and back


def _collected(rows: Iterator[tuple[int, _Values]], images: ImageSource) -> QueueFile:
    good: list[Row] = []
    bad: list[tuple[int, str]] = []
    for number, values in rows:
        if len(good) + len(bad) >= MAX_ROWS:
            raise UserError(f"The file has more than {MAX_ROWS:,} rows; split it.")
        try:
            if isinstance(values, UserError):
                raise values
            good.append(_row(number, values, images))
        except UserError as error:
            bad.append((number, str(error)))
    return QueueFile(tuple(good), tuple(bad))


def _row(number: int, values: Mapping[str, Any], images: ImageSource) -> Row:
    settings = {
        _OPTIONS[name].field: _OPTIONS[name].parse(_text(name, value))
        for name, value in values.items()
        if name in _OPTIONS
    }
    settings |= {
        option.field: images.find(_text(name, values[name])) for name, option in _FILES.items() if name in values
    }
    draft = Draft(
        **settings,
        loras=tuple(options.lora(lora) for lora in _several("lora", values.get("lora", []))),
        reference_images=tuple(
            images.find(name.strip()) for name in _several("reference-image", values.get("reference-image", []))
        ),
    )
    return Row(number, draft, _text("project", values.get("project", "")).strip())


def _text(name: str, value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise UserError(f"Its {name} is {json.dumps(value)[:80]}; write text or a number.")
    return value if name in _TEXTS and isinstance(value, str) else str(value).strip()


def _several(column: str, value: object) -> list[str]:
    names = value.split(";") if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        one = "NAME=WEIGHT" if column == "lora" else "FILE"
        raise UserError(f"Its {column} is {json.dumps(value)[:80]}; write {one};{one} or a list of such texts.")
    return [name for name in names if name.strip()]


def _to_values(row: Row) -> dict[str, Any]:
    draft = row.draft
    values = {name: getattr(draft, option.field) for name, option in _OPTIONS.items()}
    values |= {name: _member_name(getattr(draft, option.field)) for name, option in _FILES.items()}
    values["reference-image"] = [_member_name(path) for path in draft.reference_images] or None
    values["lora"] = [f"{lora.name}={lora.weight!r}" for lora in draft.loras] or None
    values["project"] = row.project or None
    return {name: value for name, value in values.items() if value is not None}


def _member_name(path: Path | None) -> str | None:
    return None if path is None else f"{IMAGE_FOLDER}{path.name}"


# Bytes


def _bounded(path: Path) -> bytes:
    with path.open("rb") as file:
        content = file.read(MAX_LIST_BYTES + 1)
    return checked_size(content, path.name, MAX_LIST_BYTES)


def _decoded(content: bytes, path: Path) -> str:
    """UTF-8, or the UTF-16 that spreadsheets save as "Unicode text"."""
    encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return content.decode(encoding)
    except UnicodeDecodeError:
        raise UserError(f'{path.name} is not UTF-8 text; save it as "CSV UTF-8" and choose it again.') from None
