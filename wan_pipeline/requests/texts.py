"""Limits of texts that people type: printable, and not too long."""

from __future__ import annotations

import unicodedata

from wan_pipeline.errors import RequestError

MAX_NAME_CHARACTERS = 255
"""Length of a file name."""
MAX_NOTE_CHARACTERS = 2000
"""Length of a clip's note."""


def check_project(name: str) -> None:
    """Check the name of a project. Raises RequestError."""
    if len(name) > MAX_NAME_CHARACTERS:
        raise RequestError(
            "project",
            f"The project has {len(name):,} characters; at most {MAX_NAME_CHARACTERS} are allowed: shorten it.",
        )
    check_characters("project", name)


def check_note(text: str) -> None:
    """Check the note of a clip. Raises RequestError."""
    if len(text) > MAX_NOTE_CHARACTERS:
        raise RequestError(
            "note",
            f"The note has {len(text):,} characters; at most {MAX_NOTE_CHARACTERS:,} are allowed: shorten it.",
        )
    check_characters("note", text, allowed="\n\r\t")


def check_search(text: str) -> None:
    """Check the words of a search. Raises RequestError."""
    check_characters("search", text, allowed="\n\r\t")


def check_characters(field: str, text: str, allowed: str = "") -> None:
    """Raise RequestError for a control character that is not allowed."""
    for character in text:
        if unicodedata.category(character) in ("Cc", "Cs") and character not in allowed:
            name = field.replace("_", " ")
            raise RequestError(
                field,
                f"The {name} holds a control character (U+{ord(character):04X}); "
                "only printable text is allowed: remove it.",
            )
