"""Titles as pictures: the page shows the same ones that are rendered."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from wan_pipeline.errors import RequestError
from wan_pipeline.projects.cut.cut import Title, TitlePlace

FADE_FRAMES = 6
"""A title comes and goes in so many frames."""
HEIGHT = {TitlePlace.CENTRE: 0.085, TitlePlace.TOP: 0.055, TitlePlace.LOWER: 0.055}
"""Of its letters, as a share of the frame's height."""
MARGIN = 0.08
"""Share of width and height that stays free: the title-safe area of SMPTE ST 2046-1 leaves 5%."""
MIN_LETTERS = 8
"""Pixels."""
WIDE_FONTS = ("DejaVuSans.ttf", "NotoSans-Regular.ttf", "arial.ttf", "Arial Unicode.ttf", "msyh.ttc", "simsun.ttc")
"""Fonts of the system, for letters that Pillow's own font has not."""
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
_NO_LETTER = "\U0010ffff"


@dataclass(frozen=True)
class TitlePicture:
    """A title drawn for a size of frames."""

    left: int
    top: int
    pixels: NDArray[np.uint8]
    """(h, w, 4) RGBA, not premultiplied."""

    def webp(self) -> bytes:
        target = io.BytesIO()
        Image.fromarray(self.pixels, "RGBA").save(target, "WEBP", lossless=True)
        return target.getvalue()


def opacity(frame: int, frames: int) -> float:
    """Of a title of so many frames at one of them, from 0."""
    return min(1.0, (frame + 1) / (FADE_FRAMES + 1), (frames - frame) / (FADE_FRAMES + 1))


def draw_title(title: Title, size: tuple[int, int]) -> TitlePicture:
    """White letters with a soft shadow, for frames of (width, height). Raises RequestError for letters no font has."""
    height = size[1]
    font = _fitting(title, size)
    spacing = round(height * HEIGHT[title.place] * 0.35)
    align = "left" if title.place is TitlePlace.LOWER else "center"
    pen = ImageDraw.Draw(Image.new("RGBA", (1, 1)))
    left, top, right, bottom = pen.multiline_textbbox((0, 0), title.text, font, spacing=spacing, align=align)
    blur = max(1, round(height / 180))
    edge = 3 * blur
    box = (round(right - left) + 2 * edge, round(bottom - top) + 2 * edge)
    letters = Image.new("L", box)
    ImageDraw.Draw(letters).multiline_text(
        (edge - left, edge - top), title.text, 255, font, spacing=spacing, align=align
    )
    picture = _with_shadow(letters, blur)
    x, y = _place(title.place, size, box, edge)
    return _cropped(picture, x, y, size)


def _with_shadow(letters: Image.Image, blur: int) -> Image.Image:
    shadow = letters.filter(ImageFilter.GaussianBlur(blur)).point(lambda level: min(255, round(level * 0.9)))
    picture = Image.merge("RGBA", [*[Image.new("L", letters.size)] * 3, shadow])
    white = Image.merge("RGBA", [*[Image.new("L", letters.size, 255)] * 3, letters])
    return Image.alpha_composite(picture, white)


def _place(place: TitlePlace, size: tuple[int, int], box: tuple[int, int], edge: int) -> tuple[int, int]:
    width, height = size
    middle = (width - box[0]) // 2
    match place:
        case TitlePlace.CENTRE:
            return middle, (height - box[1]) // 2
        case TitlePlace.TOP:
            return middle, round(height * MARGIN) - edge
        case TitlePlace.LOWER:
            return round(width * MARGIN) - edge, height - round(height * MARGIN) - box[1] + edge


def _cropped(picture: Image.Image, x: int, y: int, size: tuple[int, int]) -> TitlePicture:
    """What of the picture is inside the frame."""
    left, top = max(-x, 0), max(-y, 0)
    inside = (left, top, min(picture.width, size[0] - x), min(picture.height, size[1] - y))
    return TitlePicture(max(x, 0), max(y, 0), np.asarray(picture.crop(inside)))


def _fitting(title: Title, size: tuple[int, int]) -> Font:
    """The font at the title's height, or smaller, so that its longest line fits between the margins."""
    width, height = size
    pixels = max(MIN_LETTERS, round(height * HEIGHT[title.place]))
    font, room = _font(title.text, pixels), width * (1 - 2 * MARGIN)
    longest = max(font.getlength(line) for line in title.text.splitlines())
    return font if longest <= room else _font(title.text, max(MIN_LETTERS, int(pixels * room / longest)))


def _font(text: str, pixels: int) -> Font:
    """Pillow's own font, the same on every machine, or the first of the system that has all letters."""
    own = ImageFont.load_default(pixels)
    if not (missing := _missing(text, own)):
        return own
    for name in WIDE_FONTS:
        try:
            font = ImageFont.truetype(name, pixels)
        except OSError:
            continue
        if not _missing(text, font):
            return font
    raise RequestError("title", f"No font here has the letter '{missing}' of the title; write it without.")


def _missing(text: str, font: Font) -> str:
    """The first letter that the font has not; empty for none."""
    blank = bytes(font.getmask(_NO_LETTER))
    return next((letter for letter in text if not letter.isspace() and bytes(font.getmask(letter)) == blank), "")
