"""What the Undo button of a toast gives back: words that the toast carries, so that nothing is kept for it here.

The id of a clip that was binned, or moved:PROJECT:SHOT:TAKE:PICKED:CLIP of one that went to another project.
"""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import quote, unquote

from wan_pipeline.errors import UserError
from wan_pipeline.projects.moving import Moved
from wan_pipeline.studio import Studio
from wan_pipeline.wording import plural

MOVED = "moved"
MAX_DIGITS = 12


def words_of_moved(moved: Iterable[Moved]) -> tuple[str, ...]:
    return tuple(
        ":".join(
            [MOVED, quote(each.project, safe=""), str(each.shot), str(each.take), str(+each.is_picked), each.clip_id]
        )
        for each in moved
    )


def undo(studio: Studio, text: str) -> str:
    """Give back what these words say. Returns what came back, as a sentence. Raises UserError."""
    words = text.split()
    moved = [_moved(word) for word in words if word.startswith(f"{MOVED}:")]
    if moved:
        return f"{plural(studio.moves.put_back(moved), 'clip')} moved back"
    studio.gallery.unbin(words)
    return "Back in the gallery"


def _moved(word: str) -> Moved:
    match word.split(":"):
        case [_, project, *numbers, clip_id] if len(numbers) == 3 and all(map(_is_number, numbers)):
            shot, take, is_picked = map(int, numbers)
            return Moved(clip_id, unquote(project), shot, take, bool(is_picked))
    raise UserError(f"'{word[:40]}' is nothing that can be undone; move the clips back by hand.")


def _is_number(text: str) -> bool:
    return text.isdecimal() and len(text) <= MAX_DIGITS
