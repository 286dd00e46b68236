"""A review as PDF: each shot with its picture, the frames that comments are about with their marks, and the words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw

from wan_pipeline.clips.gallery.comments import Comment
from wan_pipeline.clips.read import read_frames
from wan_pipeline.clips.sheets.fonts import drawable, font
from wan_pipeline.clips.sheets.page import (
    ACCENT,
    DPI,
    HEIGHT,
    INK,
    MARGIN,
    NORMAL,
    SMALL,
    SOFT,
    WIDTH,
    blank_page,
    draw_title,
    picture_of,
    wrapped,
)
from wan_pipeline.errors import StorageError
from wan_pipeline.storage.files import whole_file

PICTURE = (400, 240)
FRAME = (250, 150)
RIGHT = MARGIN + PICTURE[0] + 28
MARK = "#e0242f"


@dataclass(frozen=True)
class ReviewPage:
    """One shot of a review."""

    clip: Path
    poster: Path
    heading: str
    verdict: str
    text: str
    comments: tuple[tuple[str, Comment], ...]
    """Each with its author."""


def write_review(shots: Sequence[ReviewPage], title: str, target: Path) -> None:
    """Write the PDF. Raises StorageError."""
    sheet = _Sheet(title)
    for shot in shots:
        sheet.add(shot)
    first, *rest = sheet.pages
    with whole_file(target) as part:
        first.save(part, format="PDF", resolution=DPI, save_all=True, append_images=rest, quality=92)


class _Sheet:
    """Pages that are filled from the top."""

    def __init__(self, title: str) -> None:
        self._title, self.pages = f"{title}: review", list[Image.Image]()
        self._y = HEIGHT

    def add(self, shot: ReviewPage) -> None:
        self._room(PICTURE[1] + 40)
        page, top = self.pages[-1], self._y
        page.paste(picture_of(shot.poster, PICTURE), (MARGIN, top))
        pen = ImageDraw.Draw(page)
        pen.text((RIGHT, top), drawable(shot.heading), INK, font(NORMAL, shot.heading))
        pen.text((WIDTH - MARGIN, top), shot.verdict, ACCENT, font(NORMAL), anchor="ra")
        self._y = top + 34
        self._words(shot.text, SOFT, 3)
        for author, comment in shot.comments:
            self._comment(shot, author, comment)
        self._y = max(self._y, top + PICTURE[1]) + 36

    def _comment(self, shot: ReviewPage, author: str, comment: Comment) -> None:
        where = "" if comment.frame is None else f", frame {comment.frame}"
        height = FRAME[1] + 12 if comment.frame is not None else 80
        self._room(height + 30)
        head = f"{author}{where}{', done' if comment.is_done else ''}"
        ImageDraw.Draw(self.pages[-1]).text((RIGHT, self._y), drawable(head), ACCENT, font(SMALL, head))
        self._y += 24
        if comment.frame is not None and (picture := _marked(shot.clip, comment)) is not None:
            self.pages[-1].paste(picture, (RIGHT, self._y))
            self._y += FRAME[1] + 6
        self._words(comment.text, INK, 12)
        self._y += 6

    def _words(self, text: str, colour: str, lines: int) -> None:
        face = font(SMALL, text)
        for line in wrapped(text, face, WIDTH - MARGIN - RIGHT - 200, lines):
            ImageDraw.Draw(self.pages[-1]).text((RIGHT, self._y), line, colour, face)
            self._y += round(SMALL * 1.35)

    def _room(self, height: int) -> None:
        """Begin another page if this one has no room."""
        if self._y + height > HEIGHT - MARGIN:
            self.pages.append(blank_page())
            self._y = draw_title(self.pages[-1], self._title, f"page {len(self.pages)}") + 10


def _marked(clip: Path, comment: Comment) -> Image.Image | None:
    """The frame of a comment with its mark; None for a frame that the clip does not have, or a clip that is gone."""
    try:
        frame = next((each for number, each in enumerate(read_frames(clip)) if number == comment.frame), None)
    except StorageError:
        return None
    if frame is None:
        return None
    picture = Image.fromarray(frame).resize(FRAME)
    points = [(x * FRAME[0], y * FRAME[1]) for x, y in comment.mark]
    if len(points) > 1:
        ImageDraw.Draw(picture).line(points, MARK, width=4, joint="curve")
    return picture
