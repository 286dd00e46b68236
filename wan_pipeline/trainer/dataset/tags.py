"""Tags of captions: the parts between commas, or, of a caption that is a sentence, its words. No torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

_AROUND = " .,;:!?()\"'“”"
"""What is no part of a word."""


def tags_of(caption: str) -> list[str]:
    """Each once, in small letters, in order."""
    parts = caption.split(",") if "," in caption else caption.split()
    tags = (" ".join(part.split()).strip(_AROUND).casefold() for part in parts)
    return list(dict.fromkeys(tag for tag in tags if tag))


def counted(captions: Iterable[str]) -> list[tuple[str, int]]:
    """How many captions have each tag; the most frequent first, then by the alphabet."""
    counts = Counter(tag for caption in captions for tag in tags_of(caption))
    return sorted(counts.items(), key=lambda each: (-each[1], each[0]))


def has_tag(caption: str, tag: str) -> bool:
    return tag.casefold() in tags_of(caption)


def with_tag(caption: str, tag: str) -> str:
    """The caption with a tag at its end, unless it has it."""
    if has_tag(caption, tag):
        return caption
    return f"{caption.rstrip(' ,')}, {tag}" if caption.strip() else tag


def without_tag(caption: str, tag: str) -> str:
    """The caption without a tag, however it is written there."""
    mark = "," if "," in caption else " "
    kept = (part for part in caption.split(mark) if part.strip().strip(_AROUND).casefold() != tag.casefold())
    return " ".join(mark.join(kept).split()).strip(" ,")
