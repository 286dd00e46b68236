"""Contact sheets as PNG and PDF: a grid with labelled axes, or tiles in order with what differs on each."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from wan_pipeline.clips.sheets.differing import Grid
from wan_pipeline.clips.sheets.fonts import font, letters_note
from wan_pipeline.clips.sheets.page import (
    DPI,
    GAP,
    HEIGHT,
    INK,
    MARGIN,
    NORMAL,
    SOFT,
    Boxes,
    Tile,
    blank_page,
    boxes,
    draw_tile,
    draw_title,
    fitted,
    shape,
    wrapped,
)
from wan_pipeline.errors import UserError
from wan_pipeline.storage.files import whole_file

LABEL_WIDTH = 170
"""Width of the labels at the left of a grid."""
LABEL_HEIGHT = 34
MAX_TILES = 600
MAX_HEIGHT = 30_000
"""Height of a PNG, in pixels."""
FORMATS = (".png", ".pdf", ".mp4")


def write_sheet(tiles: Sequence[Tile], title: str, target: Path, grid: Grid | None = None,
                keys: Sequence[tuple[str, str]] = ()) -> tuple[str, ...]:  # fmt: skip
    """Write a sheet, PNG or PDF by the target's ending. `keys` are the (row, column) of each tile of a grid.

    Returns a sentence about letters that no font here has. Raises UserError for too many tiles, StorageError.
    """
    check_count(len(tiles), MAX_TILES)
    pages = _pages(tiles, title, grid, keys, is_one=target.suffix.lower() == ".png")
    with whole_file(target) as part:
        if target.suffix.lower() == ".png":
            pages[0].save(part, format="PNG", dpi=(DPI, DPI))
        else:
            pages[0].save(part, format="PDF", resolution=DPI, save_all=True, append_images=pages[1:], quality=92)
    labels = (*grid.rows, *grid.columns) if grid else ()
    words = (text for tile in tiles for text in (tile.heading, *tile.lines, tile.problem, tile.text))
    return letters_note([title, *labels, *words])


def check_ending(target: Path) -> None:
    """Raise UserError for a file that no sheet can be written to."""
    if target.suffix.lower() not in FORMATS or target.is_dir():
        raise UserError(f"The contact sheet {target} is not a picture; choose a name that ends in .png, .pdf or .mp4.")


def check_count(count: int, most: int) -> None:
    """Raise UserError for no clips, or more than one sheet holds."""
    if not 1 <= count <= most:
        raise UserError(f"A contact sheet of {count} clips cannot be made; choose 1 to {most}.")


def _pages(
    tiles: Sequence[Tile], title: str, grid: Grid | None, keys: Sequence[tuple[str, str]], *, is_one: bool
) -> list[Image.Image]:
    """The pages; `is_one`: one that is as tall as it needs to be."""
    columns = len(grid.columns) if grid else _columns(len(tiles))
    lines = max(bool(tile.heading) * 1.2 + len(tile.lines) + bool(tile.problem) + 2 * bool(tile.text) for tile in tiles)
    left = LABEL_WIDTH if grid else 0
    box = boxes(columns, shape([tile.picture for tile in tiles]), math.ceil(lines), left)
    flow: list[Sequence[Tile | None]] = [tiles[at : at + columns] for at in range(0, len(tiles), columns)]
    rows = _rows_of_grid(tiles, grid, keys) if grid else flow
    head = MARGIN + 46 + (LABEL_HEIGHT if grid else 0)
    per_page = max((HEIGHT - head - MARGIN + GAP) // (box.height + GAP), 1)
    if is_one:
        per_page = len(rows)
        if head + per_page * (box.height + GAP) > MAX_HEIGHT:
            raise UserError(
                f"A PNG of {len(tiles)} clips would be too tall to be opened; write a .pdf, or fewer clips."
            )
    count = math.ceil(len(rows) / per_page)
    pages = []
    for number in range(count):
        own = rows[number * per_page : (number + 1) * per_page]
        height = max(head + len(own) * (box.height + GAP) + MARGIN - GAP, HEIGHT if not is_one else 0)
        page = blank_page(height)
        top = draw_title(page, title, f"page {number + 1} of {count}" if count > 1 else "")
        labels = _labels(grid, number * per_page) if grid else None
        _draw_rows(page, own, box, top, labels)
        pages.append(page)
    return pages


def _draw_rows(
    page: Image.Image,
    rows: Sequence[Sequence[Tile | None]],
    box: Boxes,
    top: int,
    labels: Callable[[Image.Image, Boxes, int, int], None] | None,
) -> None:
    left = MARGIN
    if labels:
        labels(page, box, top, len(rows))
        left, top = MARGIN + LABEL_WIDTH, top + LABEL_HEIGHT
    for down, row in enumerate(rows):
        for across, tile in enumerate(row):
            if tile is not None:
                place = left + across * (box.width + GAP), top + down * (box.height + GAP)
                draw_tile(page, tile, place, box)


def _labels(grid: Grid, first: int) -> Callable[[Image.Image, Boxes, int, int], None]:
    """Draws the labels of both axes; `first` is the number of the page's first row."""

    def draw(page: Image.Image, box: Boxes, top: int, count: int) -> None:
        pen = ImageDraw.Draw(page)
        for across, value in enumerate(grid.columns):
            x, face = MARGIN + LABEL_WIDTH + across * (box.width + GAP), font(NORMAL, f"{grid.across} {value}")
            pen.text((x, top), fitted(f"{grid.across} {value}", face, box.width), INK, face)
        for down, value in enumerate(grid.rows[first : first + count]):
            y, face = top + LABEL_HEIGHT + down * (box.height + GAP), font(NORMAL, grid.down + value)
            pen.text((MARGIN, y), fitted(grid.down, face, LABEL_WIDTH - 12), SOFT, face)
            for line, text in enumerate(wrapped(value, face, LABEL_WIDTH - 12, 5), 1):
                pen.text((MARGIN, y + line * round(NORMAL * 1.25)), text, INK, face)

    return draw


def _rows_of_grid(tiles: Sequence[Tile], grid: Grid, keys: Sequence[tuple[str, str]]) -> list[Sequence[Tile | None]]:
    placed = dict(zip(keys, tiles, strict=True))
    return [[placed.get((row, column)) for column in grid.columns] for row in grid.rows]


def _columns(count: int) -> int:
    """Columns for tiles in order: as many as leave the captions readable on A4."""
    return 2 if count <= 2 else 3 if count <= 6 else 4
