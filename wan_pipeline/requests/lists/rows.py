"""The rows of a list: one reader for tables, one for JSON. Each gives a row's number and its values by column."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from wan_pipeline.errors import UserError
from wan_pipeline.requests.lists.columns import NUMBERS, TEXTS, check_columns, column_name
from wan_pipeline.storage.outside import OutsideDataError, parse_json

MAX_ROWS = 5000
MAX_LINES = 2**20
"""Of a text file, as many as Excel has rows."""
Values = Mapping[str, Any] | UserError
"""The values of a row by column, also those of unknown columns; or why it has none."""
NumberedRow = tuple[int, Values]

_SEPARATOR_LINE = re.compile(r'\s*"?sep=(.)"?[^\S\n]*\r?\n', re.IGNORECASE)
"""Excel's own first line, which it hides."""


def csv_rows(text: str, file: str) -> Iterator[NumberedRow]:
    """Read CSV with a header, separated by commas, semicolons or tabs. Rows are numbered as a spreadsheet does.

    Where the separator is no comma, the numbers may have one. Raises UserError for a bad header or no CSV. `file` is
    the name for errors.
    """
    text, delimiter = _split_separator(text)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        yield from table_rows(reader, file, has_decimal_commas=delimiter != ",")
    except csv.Error as error:
        raise UserError(f"{file} is no CSV file after line {reader.line_num} ({error}); save it again.") from error


def table_rows(table: Iterable[Sequence[Any]], file: str, *, has_decimal_commas: bool = False) -> Iterator[NumberedRow]:
    """Read a table whose first row that is not blank names the columns. Raises UserError for a bad header."""
    filled = ((number, cells) for number, cells in enumerate(table, 1) if not all(map(_is_blank, cells)))
    columns = check_columns(next(filled, (0, ()))[1], file)
    for number, cells in filled:
        if not all(map(_is_blank, cells[len(columns) :])):
            yield number, UserError(f"It has {len(cells)} cells, the header {len(columns)}; quote commas in texts.")
            continue
        values = {name: cell for name, cell in zip(columns, cells, strict=False) if not _is_blank(cell)}
        yield number, _with_points(values) if has_decimal_commas else values


def json_rows(text: str, file: str) -> Iterator[NumberedRow]:
    """Read objects: JSONL, one a line and numbered by it; or a JSON array, or objects on many lines,
    numbered from 1.

    Raises UserError for an array that is cut short or malformed.
    """
    first, _, rest = text.strip().partition("\n")
    if first.startswith("[") and not (rest and _is_json(first)):
        yield from ((number, _object(json.dumps(value))) for number, value in enumerate(_array(text, file), 1))
    elif first.startswith("{") and not _is_json(first) and (objects := _objects(text)):
        yield from ((number, _object(each)) for number, each in enumerate(objects, 1))
    else:
        lines = enumerate(text.split("\n"), 1)
        yield from ((number, _object(line)) for number, line in lines if line.strip())


def _split_separator(text: str) -> tuple[str, str]:
    """The text without Excel's line `sep=;`, and the separator: the commonest one in the first line that has words."""
    if match := _SEPARATOR_LINE.match(text):
        return text[match.end() :], match[1]
    header = next((line for line in text.splitlines() if line.strip(" ,;\t")), "")
    return text, max(",;\t", key=header.count)


def _is_blank(cell: object) -> bool:
    return cell is None or (isinstance(cell, str) and not cell.strip())


def _with_points(values: Mapping[str, str]) -> Mapping[str, str]:
    """The numbers of a row, LoRA weights among them, with decimal points for commas."""
    points = {name: re.sub(r"^(\s*[+-]?\d*),(\d+\s*)$", r"\1.\2", values[name]) for name in NUMBERS if name in values}
    if "lora" in values:
        points["lora"] = re.sub(r"(=\s*[+-]?\d*),(\d+)", r"\1.\2", values["lora"])
    return {**values, **points}


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _objects(text: str) -> list[str]:
    """JSON values, each on as many lines as it likes. None of them if there is anything else.

    It stops when there are more than a list may have.
    """
    text = text.strip()
    decoder, found, start = json.JSONDecoder(), list[str](), 0
    try:
        while start < len(text) and len(found) <= MAX_ROWS:
            _, end = decoder.raw_decode(text, start)
            found.append(text[start:end])
            start = end + len(text[end : end + 99]) - len(text[end : end + 99].lstrip())
    except (ValueError, RecursionError):
        return []
    return found


def _array(text: str, file: str) -> list[Any]:
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)[:200]
        raise UserError(f"{file} is no JSON array of clips ({reason}); write it again, or one object a line.") from None
    return values if isinstance(values, list) else [values]


def _object(text: str) -> Values:
    try:
        values = parse_json(text)
    except OutsideDataError as error:
        return UserError(f"It cannot be read: {error}; write one JSON object a line.")
    if not isinstance(values, dict):
        return UserError(f"It is a JSON {type(values).__name__}, not an object; write one object a line.")
    named = {column_name(key): value for key, value in values.items() if value is not None}
    return {name: value for name, value in named.items() if value != "" or name in TEXTS}
