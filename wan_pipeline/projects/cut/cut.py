"""A cut: parts of clips and title cards in order, with dissolves and titles."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import ConfigDict, Field

from wan_pipeline.clips.export.rates import parse_rate
from wan_pipeline.clips.naming import name_of

MAIN = "main"
"""Name of a cut that was given none."""
MAX_ITEMS = 2_000
MAX_DISSOLVE = 96
"""Frames. The renderer holds so many of them in memory."""
MAX_TITLE = 200
"""Characters."""
CARD_SECONDS = 2
"""How long a title card is that was given no length."""
_FORBID = ConfigDict(extra="forbid")
Frames = Annotated[int, Field(ge=1, le=10**6)]


class TitlePlace(StrEnum):
    CENTRE = "centre"
    LOWER = "lower"
    """In the lower third, on the left."""
    TOP = "top"


@dataclass(frozen=True)
class Title:
    """Words over an item's pictures. Lines are parted by line breaks."""

    text: Annotated[str, Field(min_length=1, max_length=MAX_TITLE)]
    first: Annotated[int, Field(ge=0, le=10**6)] = 0
    """The frame of the item at which it appears: 0 is the first one that is seen."""
    frames: Frames | None = None
    """How long; None to the item's end."""
    place: TitlePlace = TitlePlace.CENTRE

    __pydantic_config__: ClassVar[ConfigDict] = _FORBID


@dataclass(frozen=True)
class CutItem:
    """A clip, or a part of it; or a title card: black, with a title or without one."""

    clip: Annotated[str, Field(max_length=4096)]
    """Its path from the workspace's folder of clips, with "/"; of one elsewhere its whole path. Empty for a card."""
    first: Annotated[int, Field(ge=0, le=10**6)] = 0
    """The first frame that is seen, counted from 0."""
    end: Frames | None = None
    """The frame after the last one that is seen; None for all."""
    dissolve: Annotated[int, Field(ge=0, le=MAX_DISSOLVE)] = 0
    """Frames in which the item before becomes this one: the last of that one and the first of this one. 0: a cut."""
    title: Title | None = None

    @property
    def is_card(self) -> bool:
        return not self.clip

    __pydantic_config__: ClassVar[ConfigDict] = _FORBID


@dataclass(frozen=True)
class Cut:
    """Clips in order. A file of an older version, which had only cuts, is read as one without dissolves and titles."""

    name: str
    rate: str = ""
    """Frames a second, an exact fraction as text; empty for that of the first clip."""
    items: Annotated[tuple[CutItem, ...], Field(max_length=MAX_ITEMS)] = ()

    __pydantic_config__: ClassVar[ConfigDict] = _FORBID

    @property
    def fraction(self) -> Fraction | None:
        """Raises RequestError."""
        return parse_rate(self.rate) if self.rate else None

    def with_items(self, items: tuple[CutItem, ...]) -> Cut:
        return replace(self, items=items)

    def added(self, items: tuple[CutItem, ...]) -> Cut:
        return self.with_items((*self.items, *items))

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def path_of(item: CutItem, clips: Path) -> Path:
    """Where an item's clip is; `clips` is the workspace's folder of clips."""
    return clips / item.clip


def item_of(clip: Path, clips: Path, first: int = 0, end: int | None = None, dissolve: int = 0) -> CutItem:
    return CutItem(name_of(clip, clips), first, end, dissolve)
