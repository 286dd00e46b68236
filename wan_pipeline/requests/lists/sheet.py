"""The first sheet of an Excel workbook. It may come from anywhere: its sizes are bounded before it is unpacked."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from warnings import catch_warnings, simplefilter

from wan_pipeline.errors import UserError
from wan_pipeline.wording import data_size

MAX_UNPACKED_BYTES = 64 * 2**20
MAX_FILES = 1000
MAX_COLUMNS = 256
MAX_SHEET_ROWS = 2**20
"""As many as Excel has. Most are blank, or the list is refused long before."""


def is_workbook(archive: zipfile.ZipFile) -> bool:
    return "xl/workbook.xml" in archive.namelist()


def workbook_rows(path: Path) -> Iterator[tuple[Any, ...]]:
    """The cells of each row, blank ones as None. Formulas give the values that were saved with them.

    Raises UserError for a workbook that is too large or cannot be read.
    """
    _check_unpacked_size(path)
    from openpyxl import load_workbook  # here: few lists are workbooks

    try:
        with catch_warnings():
            simplefilter("ignore")  # of styles and other things that are of no use here
            book = load_workbook(path, read_only=True, data_only=True, keep_links=False)
            try:
                sheet = next(sheet for sheet in book.worksheets if sheet.sheet_state == "visible")
                for cells in sheet.iter_rows(max_row=MAX_SHEET_ROWS, max_col=MAX_COLUMNS + 1, values_only=True):
                    yield _check_width(cells, path.name)
            finally:
                book.close()
    except UserError:
        raise
    except StopIteration:
        raise UserError(f"{path.name} holds no sheet; choose another file.") from None
    except Exception as error:
        reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise UserError(f"{path.name} is a workbook that cannot be read ({reason}); save it again.") from error


def _check_unpacked_size(path: Path) -> None:
    """`zipfile` unpacks no more of a member than the size that it declares."""
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
    size = sum(member.file_size for member in members)
    if size > MAX_UNPACKED_BYTES or len(members) > MAX_FILES:
        raise UserError(
            f"{path.name} unpacks to {data_size(size)} in {len(members):,} parts, and a list may have "
            f'{data_size(MAX_UNPACKED_BYTES)} in {MAX_FILES:,}; save the sheet as "CSV UTF-8".'
        )


def _check_width(cells: tuple[Any, ...], file: str) -> tuple[Any, ...]:
    if len(cells) > MAX_COLUMNS and cells[MAX_COLUMNS] is not None:
        raise UserError(f"{file} has more than {MAX_COLUMNS} columns; delete those that are not needed.")
    return cells[:MAX_COLUMNS]
