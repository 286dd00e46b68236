"""A list of clips in one file: CSV from a spreadsheet, JSONL from a script, or a ZIP of JSONL and input pictures.

Columns and keys are the option names of `generate`. A file may come from anywhere: its sizes are bounded, and pictures
of a ZIP are read by name and written under names of our own.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wan_pipeline.errors import UserError
from wan_pipeline.requests import options
from wan_pipeline.requests.limits import check_project
from wan_pipeline.requests.lists.pictures import (
    LIST_NAME,
    PICTURE_FOLDER,
    NoPictures,
    PicturesInArchive,
    PicturesOnDisk,
    PictureSource,
    check_size,
    read_member,
)
from wan_pipeline.requests.lists.rows import LISTS, TEXTS, Values, csv_rows, json_rows
from wan_pipeline.requests.request import Draft
from wan_pipeline.storage.files import whole_file
from wan_pipeline.wording import plural

MAX_LIST_BYTES = 16 * 2**20
MAX_ROWS = 5000
CSV_TEMPLATE = """\
prompt,negative-prompt,preset,seed,steps,guidance,width,height,frames,fps,image,model,lora,project
a red ball bounces over green hills,,natural,1,,,,,,,,,,hills
"a blue fish swims left, slowly",,,2,12,3.5,,,,,,,,sea
"""
"""Two sample rows. An empty cell leaves the choice to preset and model."""

_OPTIONS = {option.name: option for option in options.OPTIONS}
_FILES = {option.name: option for option in options.FILES}


@dataclass(frozen=True)
class Row:
    """One clip of a list. `number` is its row in the spreadsheet or its line in the file, from 1."""

    number: int
    draft: Draft
    project: str = ""


@dataclass(frozen=True)
class QueueFile:
    """The content of a list."""

    rows: tuple[Row, ...]
    """The good rows."""
    bad_rows: tuple[tuple[int, str], ...] = ()
    """The number of each bad row, and a sentence that says why."""

    @property
    def problems(self) -> tuple[str, ...]:
        """One sentence for each bad row, in order."""
        return tuple(f"Row {number}: {reason}" for number, reason in sorted(self.bad_rows))

    def check(self, skip_bad: bool) -> None:
        """Raise UserError if there are bad rows that are not to be skipped, or no good ones."""
        bad, count = len(self.bad_rows), len(self.bad_rows) + len(self.rows)
        if bad and not (skip_bad and self.rows):
            more = f" (and {bad - 1} more)" if bad > 1 else ""
            raise UserError(f"Nothing was queued: {bad} of {count} rows are invalid. {self.problems[0]}{more}")
        if not self.rows:
            raise UserError("The file holds no clips; write one a row below the names of the columns.")


def check_rows(content: QueueFile, check: Callable[[Draft], object]) -> QueueFile:
    """Move rows for which `check` raises UserError to the bad ones."""
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
    """Read a CSV, JSONL or ZIP file. Raises UserError if it is none of these or has unknown columns.

    Pictures of a ZIP are written to `folder`. `own_disk`: rows may name pictures on this computer's disk.
    """
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                text = _decode(read_member(archive, LIST_NAME, MAX_LIST_BYTES), path)
                return _collect(json_rows(text), PicturesInArchive(archive, folder))
        text = _decode(_read(path), path)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError) as error:
        raise UserError(f"{path.name} is a ZIP file that cannot be read ({error}); export it again.") from error
    except OSError as error:
        raise UserError(f"{path.name} cannot be read ({error.strerror}); choose another file.") from error
    rows = json_rows(text) if _looks_like_json(text, path) else csv_rows(text, path.name)
    return _collect(rows, PicturesOnDisk(path.parent) if own_disk else NoPictures())


def write_queue_file(rows: Sequence[Row], target: Path) -> None:
    """Write rows as JSONL, or, if the target ends in .zip, as a ZIP with the input pictures.

    Raises StorageError, and UserError if there are pictures and the target is no ZIP.
    """
    pictures = {path for row in rows for path in row.draft.files}
    if pictures and target.suffix.lower() != ".zip":
        count = plural(len(pictures), "input image")
        raise UserError(f"The queue uses {count}, which {target.name} cannot hold; choose a name that ends in .zip.")
    lines = "".join(json.dumps(_to_values(row), ensure_ascii=False) + "\n" for row in rows)
    with whole_file(target) as part:
        if target.suffix.lower() != ".zip":
            part.write_text(lines, encoding="utf-8", newline="\n")
            return
        with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(LIST_NAME, lines)
            for picture in sorted(pictures):
                archive.write(picture, _member_name(picture), zipfile.ZIP_STORED)


def _looks_like_json(text: str, path: Path) -> bool:
    return path.suffix.lower() in (".json", ".jsonl", ".ndjson") or text.lstrip().startswith("{")


# From values to drafts and back


def _collect(rows: Iterable[tuple[int, Values]], pictures: PictureSource) -> QueueFile:
    good: list[Row] = []
    bad: list[tuple[int, str]] = []
    for number, values in rows:
        if len(good) + len(bad) >= MAX_ROWS:
            raise UserError(f"The file has more than {MAX_ROWS:,} rows; split it.")
        try:
            if isinstance(values, UserError):
                raise values
            good.append(_row(number, values, pictures))
        except UserError as error:
            bad.append((number, str(error)))
    return QueueFile(tuple(good), tuple(bad))


def _row(number: int, values: Mapping[str, Any], pictures: PictureSource) -> Row:
    settings = {
        _OPTIONS[name].field: _OPTIONS[name].parse(_text(name, value))
        for name, value in values.items()
        if name in _OPTIONS
    }
    settings |= {
        option.field: pictures.find(_text(name, values[name])) for name, option in _FILES.items() if name in values
    }
    loras, references = (_texts(name, values.get(name, [])) for name in LISTS)
    draft = Draft(
        **settings,
        loras=tuple(options.lora(lora) for lora in loras),
        reference_images=tuple(pictures.find(name.strip()) for name in references),
    )
    return Row(number, draft, _project(_text("project", values.get("project", "")).strip()))


def _project(name: str) -> str:
    check_project(name)
    return name


def _text(name: str, value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise UserError(f"Its {name} is {json.dumps(value)[:80]}; write text or a number.")
    return value if name in TEXTS and isinstance(value, str) else str(value).strip()


def _texts(column: str, value: object) -> list[str]:
    """The texts of a list, or of one text with semicolons."""
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
    return None if path is None else f"{PICTURE_FOLDER}{path.name}"


# Bytes


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        content = file.read(MAX_LIST_BYTES + 1)
    return check_size(content, path.name, MAX_LIST_BYTES)


def _decode(content: bytes, path: Path) -> str:
    """Decode UTF-8, or the UTF-16 that spreadsheets save as "Unicode text"."""
    encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return content.decode(encoding)
    except UnicodeDecodeError:
        raise UserError(f'{path.name} is not UTF-8 text; save it as "CSV UTF-8" and choose it again.') from None
