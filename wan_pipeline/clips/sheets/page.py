"""Drawing of contact sheets: tiles with captions on pages of A4, landscape. Lengths are pixels at DPI."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageOps

from wan_pipeline.clips.sheets.fonts import Font, drawable, font

DPI = 150
WIDTH, HEIGHT = 1754, 1240
"""A4, landscape."""
MARGIN, GAP = 60, 22
LARGE, NORMAL, SMALL = 30, 21, 18
"""Heights of letters: 14, 10 and 8.6 points."""
INK, SOFT, GROUND, WELL, ACCENT, WRONG = "#17171c", "#5d5d69", "#ffffff", "#e8e8ed", "#4a3bd0", "#b3261e"
FRAME = 5
"""Width of the line around a picture that something is wrong with."""
MIN_RATIO, MAX_RATIO = 0.5, 3.0
"""Of a tile's picture, width by height: others are drawn whole, with bars."""
MAX_TEXT = 400
"""Characters of a caption that are measured at all."""


@dataclass(frozen=True)
class Tile:
    """One clip of a sheet."""

    picture: Path | None
    """A frame of it; None for a shot without a clip."""
    heading: str = ""
    """Such as its scene, shot and take."""
    lines: tuple[str, ...] = ()
    """What differs on it, one a line."""
    text: str = ""
    """Its description or prompt: as much as two lines hold."""
    is_marked: bool = False
    """Picked: its heading is drawn in colour."""
    problem: str = ""
    """What is wrong with it, in red below the lines; its picture has a red frame."""


@dataclass(frozen=True)
class Boxes:
    """Where tiles stand on a page."""

    columns: int
    width: int
    picture_height: int
    height: int
    """Size of a tile with its caption."""


def boxes(columns: int, ratio: float, caption_lines: int, left: int = 0) -> Boxes:
    """Tiles of this many columns, `left` pixels of which are kept for labels. `ratio` is width by height."""
    width = (WIDTH - 2 * MARGIN - left - (columns - 1) * GAP) // columns
    picture = round(width / ratio)
    return Boxes(columns, width, picture, picture + 8 + round(caption_lines * SMALL * 1.3) + 6)


def blank_page(height: int = HEIGHT) -> Image.Image:
    return Image.new("RGB", (WIDTH, height), GROUND)


def draw_title(page: Image.Image, title: str, right: str) -> int:
    """Write the head of a page, and return where its tiles may begin."""
    draw = ImageDraw.Draw(page)
    face = font(LARGE, title)
    draw.text((MARGIN, MARGIN - 14), fitted(title, face, WIDTH - 2 * MARGIN - 320), INK, face)
    draw.text((WIDTH - MARGIN, MARGIN - 8), right, SOFT, font(NORMAL), anchor="ra")
    return MARGIN + 46


def draw_tile(page: Image.Image, tile: Tile, at: tuple[int, int], box: Boxes) -> None:
    """Draw a clip with its caption."""
    x, y = at
    page.paste(picture_of(tile.picture, (box.width, box.picture_height)), (x, y))
    draw = ImageDraw.Draw(page)
    if tile.problem:
        draw.rectangle((x, y, x + box.width - 1, y + box.picture_height - 1), outline=WRONG, width=FRAME)
    y += box.picture_height + 8
    step = round(SMALL * 1.3)
    if tile.heading:
        face = font(NORMAL, tile.heading)
        draw.text((x, y), fitted(tile.heading, face, box.width), ACCENT if tile.is_marked else INK, face)
        y += step + 3
    for line, colour in (*((line, INK) for line in tile.lines), *(((tile.problem, WRONG),) if tile.problem else ())):
        face = font(SMALL, line)
        draw.text((x, y), fitted(line, face, box.width), colour, face)
        y += step
    face = font(SMALL, tile.text)
    for line in wrapped(tile.text, face, box.width, 2):
        draw.text((x, y), line, SOFT, face)
        y += step


def picture_of(path: Path | None, size: tuple[int, int]) -> Image.Image:
    """The picture of a tile, whole, with bars where its shape is another."""
    if path is None or not path.is_file():
        return Image.new("RGB", size, WELL)
    with Image.open(path) as picture:
        return ImageOps.pad(picture.convert("RGB"), size, color=WELL)


def fitted(text: str, face: Font, width: float) -> str:
    """The text, or as much of its beginning as the width holds, with an ellipsis."""
    text = drawable(" ".join(text.split())[:MAX_TEXT])
    if face.getlength(text) <= width:
        return text
    while text and face.getlength(f"{text}...") > width:
        text = text[:-1]
    return f"{text.rstrip()}..."


def wrapped(text: str, face: Font, width: float, lines: int) -> Iterator[str]:
    """The text on at most this many lines."""
    words = drawable(" ".join(text.split())[:MAX_TEXT]).split(" ")
    for number in range(lines):
        line: list[str] = []
        while words and face.getlength(" ".join([*line, words[0]])) <= width:
            line.append(words.pop(0))
        if number == lines - 1 or (words and not line):
            line, words = [fitted(" ".join([*line, *words]), face, width)], []
        if any(line):
            yield " ".join(line)


def shape(pictures: Sequence[Path | None]) -> float:
    """Width by height of the first picture that is there, within MIN_RATIO and MAX_RATIO."""
    for path in pictures:
        if path is not None and path.is_file():
            with Image.open(path) as picture:
                return float(min(max(picture.width / picture.height, MIN_RATIO), MAX_RATIO))
    return 5 / 3
