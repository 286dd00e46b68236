"""The shot that a row of a list belongs to: scene, shot, take and description."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wan_pipeline.errors import RequestError
from wan_pipeline.storage.outside import printable

MAX_ID = 40
"""Characters of a scene's or shot's id: it stands in file names."""
MAX_DESCRIPTION = 4000
MAX_SHOT_NOTES = 2000
MAX_TAKE = 99_999
_ID = re.compile(r"[^\s/\\:*?\"<>|-][^/\\:*?\"<>|]*")


@dataclass(frozen=True)
class ShotOfRow:
    """What a row says of its shot."""

    shot: str
    """Its id, such as `010`; a text, so that its zeros stay."""
    scene: str = ""
    take: int = 0
    """The number that the clip is to have among the shot's takes; 0: the next."""
    description: str = ""
    notes: str = ""


def read_shot(values: Mapping[str, Any], notes: str = "") -> ShotOfRow | None:
    """The shot of a row; None for a row without one: then its scene and description are part of its note.

    Raises RequestError, which names the column.
    """
    if "shot" not in values or not (shot := _plain(values["shot"])):
        return None
    scene, description, take = (_plain(values.get(name, "")) for name in ("scene", "description", "take"))
    check_id("shot", shot)
    if scene:
        check_id("scene", scene)
    check_words("description", description, MAX_DESCRIPTION)
    check_words("notes", notes, MAX_SHOT_NOTES)
    return ShotOfRow(shot, scene, _take(take), description, notes)


def check_id(kind: str, text: str) -> str:
    """Return the id of a scene or shot. Raises RequestError for one that cannot stand in a name."""
    if len(text) > MAX_ID or not _ID.fullmatch(text) or not text.isprintable() or text.endswith((" ", ".")):
        raise RequestError(
            kind,
            f"The {kind} '{printable(text)[:60]}' is no id; use 1 to {MAX_ID} letters and digits, such as 010, "
            'with no hyphen before them and none of / \\ : * ? " < > |.',
        )
    return text


def check_words(kind: str, text: str, most: int) -> str:
    """Return a description or notes. Raises RequestError for a text that is too long."""
    if len(text) > most:
        raise RequestError(kind, f"The {kind} has {len(text):,} characters; at most {most:,} are allowed: shorten it.")
    return text


def _take(text: str) -> int:
    if not text:
        return 0
    if not re.fullmatch(r"\d{1,5}", text, re.ASCII) or not 1 <= int(text) <= MAX_TAKE:
        raise RequestError("take", f"The take '{text[:40]}' is not a take number; use 1 to {MAX_TAKE:,}, or nothing.")
    return int(text)


def _plain(value: object) -> str:
    """A cell as text: a spreadsheet's 10.0 is 10."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return "" if value is None else printable(str(value)).strip()
