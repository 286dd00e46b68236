"""The rows of a list: one reader for CSV, one for JSONL. Each gives a row's number and its values by column."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from typing import Any

from wan_pipeline.errors import UserError
from wan_pipeline.requests import options
from wan_pipeline.storage.outside import OutsideDataError, parse_json

TEXTS = ("prompt", "negative-prompt")
"""Columns in which an empty JSON text is a value; elsewhere it leaves the choice to preset and model."""
LISTS = ("lora", "reference-image")
COLUMNS = (*(option.name for option in options.OPTIONS), *LISTS, "project")

Values = Mapping[str, Any] | UserError
"""The values of a row, or why it has none."""


def csv_rows(text: str, file: str) -> Iterator[tuple[int, Values]]:
    """Read CSV with a header, separated by commas, semicolons or tabs. Rows are numbered as a spreadsheet does.

    Raises UserError for a bad header or no CSV. `file` is the name for errors.
    """
    header = text.partition("\n")[0]
    delimiter = max(",;\t", key=header.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        columns = _check_columns(next(reader, []), file)
        for number, cells in enumerate(reader, 2):
            if not any(cell.strip() for cell in cells):
                continue
            if any(cell.strip() for cell in cells[len(columns) :]):
                yield number, UserError(f"It has {len(cells)} cells, the header {len(columns)}; quote commas in texts.")
            else:
                yield number, {name: cell for name, cell in zip(columns, cells, strict=False) if cell.strip()}
    except csv.Error as error:
        raise UserError(f"{file} is no CSV file after line {reader.line_num} ({error}); save it again.") from error


def json_rows(text: str) -> Iterator[tuple[int, Values]]:
    """Read JSONL, one object a line. Rows are numbered by their lines."""
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield number, _json_values(line)


def _check_columns(header: list[str], file: str) -> list[str]:
    columns = [_column(cell.strip()) for cell in header]
    while columns and not columns[-1]:
        columns.pop()
    for number, column in enumerate(columns):
        if column not in COLUMNS:
            raise UserError(f"{file} has an unknown column '{column[:80]}'; known: {', '.join(COLUMNS)}.")
        if column in columns[:number]:
            raise UserError(f"{file} has two columns '{column}'; keep one of them.")
    if not columns:
        raise UserError(f"{file} is empty; its first row must name the columns, such as prompt,seed.")
    return columns


def _json_values(line: str) -> Values:
    try:
        values = parse_json(line)
    except OutsideDataError as error:
        return UserError(f"It cannot be read: {error}; write one JSON object a line.")
    if not isinstance(values, dict):
        return UserError(f"It is a JSON {type(values).__name__}, not an object; write one object a line.")
    named = {_column(key): value for key, value in values.items() if value is not None}
    unknown = next((name for name in named if name not in COLUMNS), None)
    if unknown is not None:
        return UserError(f"Its key '{unknown[:80]}' is unknown; known: {', '.join(COLUMNS)}.")
    return {name: value for name, value in named.items() if value != "" or name in TEXTS}


def _column(name: str) -> str:
    """Columns in lower case with hyphens: negative_prompt and Negative-Prompt are the same."""
    return name.lower().replace("_", "-")
