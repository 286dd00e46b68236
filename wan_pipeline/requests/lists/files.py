"""A list of clips in one file: a spreadsheet, JSON of a program, a screenplay, or a ZIP of JSONL and input pictures.

Columns and keys are the option names of `generate`. A file may come from anywhere: its sizes are bounded, and pictures
of a ZIP are read by name and written under names of our own.
"""

from __future__ import annotations

import json
import re
import zipfile
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType

from wan_pipeline.errors import UserError
from wan_pipeline.requests.lists.clips import BadRow, Row, member_name, read_row, row_values, unknown_columns
from wan_pipeline.requests.lists.columns import unknown_warning
from wan_pipeline.requests.lists.encoding import decode
from wan_pipeline.requests.lists.pictures import (
    LIST_NAME,
    NoPictures,
    PicturesInArchive,
    PicturesOnDisk,
    PictureSource,
    check_size,
    read_member,
)
from wan_pipeline.requests.lists.rows import MAX_LINES, MAX_ROWS, NumberedRow, csv_rows, json_rows, table_rows
from wan_pipeline.requests.lists.script import is_script, script_rows
from wan_pipeline.requests.lists.sheet import is_workbook, workbook_rows
from wan_pipeline.requests.request import Draft, GenerationRequest
from wan_pipeline.storage.files import whole_file
from wan_pipeline.wording import plural

MAX_LIST_BYTES = 16 * 2**20
MAX_NOTES = 12
"""Notes about prompts that are shown."""
CSV_TEMPLATE = """\
prompt,negative-prompt,preset,seed,steps,guidance,width,height,frames,fps,image,model,lora,project
a red ball bounces over green hills,,natural,1,,,,,,,,,,hills
"a blue fish swims left, slowly",,,2,12,3.5,,,,,,,,sea
"""
"""Two sample rows. An empty cell leaves the choice to preset and model."""
ENDINGS = (".csv", ".tsv", ".txt", ".jsonl", ".ndjson", ".json", ".xlsx", ".zip", ".fountain")
"""Endings of the files that can be read."""

_OLD_EXCEL = b"\xd0\xcf\x11\xe0"
_OTHER_SHEETS = ("content.xml", "Index/Document.iwa")
"""Members of the ZIP files that LibreOffice (.ods) and Numbers write."""


@dataclass(frozen=True)
class QueueFile:
    """The content of a list."""

    rows: tuple[Row, ...]
    """The good rows."""
    bad_rows: tuple[BadRow, ...] = ()
    warnings: tuple[str, ...] = ()
    """What was read otherwise than it may have been meant, one sentence each."""
    project: str = ""
    """The project that rows without one were checked for."""
    profile: str = ""
    """The profile, likewise."""

    @property
    def problems(self) -> tuple[str, ...]:
        """One sentence for each bad row, in order."""
        return tuple(str(row) for row in sorted(self.bad_rows, key=lambda row: row.number))

    def check(self, skip_bad: bool) -> None:
        """Raise UserError if there are bad rows that are not to be skipped, or no good ones."""
        bad, count = len(self.bad_rows), len(self.bad_rows) + len(self.rows)
        if bad and not (skip_bad and self.rows):
            more = f" (and {bad - 1} more)" if bad > 1 else ""
            raise UserError(f"Nothing was queued: {bad} of {count} rows are invalid. {self.problems[0]}{more}")
        if not self.rows:
            raise UserError("The file holds no clips; write one a row below the names of the columns.")


class CheckedList:
    """A list whose rows have been checked, with the folder that holds the pictures of a ZIP until it is closed."""

    def __init__(self, content: QueueFile, folder: TemporaryDirectory[str]) -> None:
        self.content = content
        self._folder = folder

    def close(self) -> None:
        self._folder.cleanup()

    def __enter__(self) -> QueueFile:
        return self.content

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def check_rows(
    content: QueueFile, check: Callable[[Draft, str, str], GenerationRequest], project: str = "", profile: str = ""
) -> QueueFile:
    """Give each row the request that `check` makes of its draft; rows for which it raises UserError are bad.

    `project` and `profile` are for rows that name none; `check` gets a row's too.
    """
    good: list[Row] = []
    bad = list(content.bad_rows)
    for row in content.rows:
        try:
            good.append(replace(row, request=check(row.draft, row.project or project, row.profile or profile)))
        except UserError as error:
            bad.append(BadRow.of(row.number, error))
    notes = [f"Row {row.number}: {note}" for row in good if row.request for note in row.request.notes]
    more = [f"There are {len(notes) - MAX_NOTES:,} more such notes."] if len(notes) > MAX_NOTES else []
    warnings = (*content.warnings, *notes[:MAX_NOTES], *more)
    return replace(content, rows=tuple(good), bad_rows=tuple(bad), warnings=warnings, project=project, profile=profile)


def read_queue_file(path: Path, folder: Path, *, own_disk: bool) -> QueueFile:
    """Read a spreadsheet, JSON or a ZIP file. Raises UserError if it is none of these or has no column of ours.

    Pictures of a ZIP are written to `folder`. `own_disk`: rows may name pictures on this computer's disk.
    """
    on_disk = PicturesOnDisk(path.parent) if own_disk else NoPictures()
    try:
        if zipfile.is_zipfile(path):
            return _read_zip(path, folder, on_disk)
        content = _read(path)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError) as error:
        raise UserError(f"{path.name} is a ZIP file that cannot be read ({error}); export it again.") from error
    except OSError as error:
        raise UserError(f"{path.name} cannot be read ({error.strerror}); choose another file.") from error
    if content.startswith(_OLD_EXCEL):
        raise UserError(f"{path.name} is a workbook of an old Excel; save it as .xlsx or as CSV.")
    text, warning = decode(content, path.name)
    if text.count("\n") >= MAX_LINES:
        raise UserError(f"{path.name} has more than {MAX_LINES:,} lines, most of them blank; save its rows alone.")
    if is_script(text, path.suffix):
        rows = script_rows(text, path.name)
    else:
        rows = json_rows(text, path.name) if _looks_like_json(text, path) else csv_rows(text, path.name)
    return _collect(rows, on_disk, warning)


def write_queue_file(rows: Sequence[Row], target: Path) -> None:
    """Write rows as JSONL, or, if the target ends in .zip, as a ZIP with the input pictures.

    Raises StorageError, and UserError if there are pictures and the target is no ZIP.
    """
    pictures = {path for row in rows for path in row.draft.files}
    if pictures and target.suffix.lower() != ".zip":
        count = plural(len(pictures), "input image")
        raise UserError(f"The queue uses {count}, which {target.name} cannot hold; choose a name that ends in .zip.")
    lines = "".join(json.dumps(row_values(row), ensure_ascii=False) + "\n" for row in rows)
    with whole_file(target) as part:
        if target.suffix.lower() != ".zip":
            part.write_text(lines, encoding="utf-8", newline="\n")
            return
        with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(LIST_NAME, lines)
            for picture in sorted(pictures):
                archive.write(picture, member_name(picture), zipfile.ZIP_STORED)


def _read_zip(path: Path, folder: Path, on_disk: PictureSource) -> QueueFile:
    """A workbook, or a list with its pictures. Raises UserError, and what `zipfile` raises."""
    with zipfile.ZipFile(path) as archive:
        if is_workbook(archive):
            return _collect(table_rows(workbook_rows(path), path.name), on_disk)
        if any(name in archive.namelist() for name in _OTHER_SHEETS):
            raise UserError(f"{path.name} is a spreadsheet that is not read here; save it as .xlsx or as CSV.")
        text, _ = decode(read_member(archive, LIST_NAME, MAX_LIST_BYTES), path.name)
        return _collect(json_rows(text, path.name), PicturesInArchive(archive, folder))


def _looks_like_json(text: str, path: Path) -> bool:
    is_named_so = path.suffix.lower() in (".json", ".jsonl", ".ndjson")
    return is_named_so or re.match(r"\s*(\{|\[\s*[{\]])", text) is not None


def _collect(rows: Iterable[NumberedRow], pictures: PictureSource, warning: str = "") -> QueueFile:
    good: list[Row] = []
    bad: list[BadRow] = []
    unknown: dict[str, None] = {}
    for number, values in rows:
        if len(good) + len(bad) >= MAX_ROWS:
            raise UserError(f"The file has more than {MAX_ROWS:,} rows; split it.")
        try:
            if isinstance(values, UserError):
                raise values
            unknown |= dict.fromkeys(unknown_columns(values))
            good.append(read_row(number, values, pictures))
        except UserError as error:
            bad.append(BadRow.of(number, error))
    warnings = [warning] if warning else []
    return QueueFile(tuple(good), tuple(bad), (*warnings, *([unknown_warning(unknown)] if unknown else [])))


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        content = file.read(MAX_LIST_BYTES + 1)
    return check_size(content, path.name, MAX_LIST_BYTES)
