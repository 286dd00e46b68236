"""The names of a list's columns: those of the command line's options, as people spell them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence

from wan_pipeline.errors import UserError
from wan_pipeline.requests import options

TEXTS = ("prompt", "negative-prompt", "prompt-before", "prompt-after")
"""Columns in which an empty JSON text is a value; elsewhere it leaves the choice to preset and model."""
LISTS = ("lora", "reference-image")
OF_THE_JOB = ("project", "profile", "note", "deterministic")
OF_THE_SHOT = ("scene", "shot", "take", "description")
COLUMNS = (*(option.name for option in options.OPTIONS), *LISTS, *OF_THE_JOB, *OF_THE_SHOT)
FIELDS = {option.field: option.name for option in options.OPTIONS} | {
    "loras": "lora",
    "reference_images": "reference-image",
}
"""The column of each field of a draft."""
NUMBERS = tuple(option.name for option in options.OPTIONS if option.metavar in ("N", "X", "PX"))
"""Columns of numbers."""

_ALIASES = {field.replace("_", "-"): name for field, name in FIELDS.items()} | {
    "negative": "negative-prompt",
    "style": "preset",
    "notes": "note",
    "reference-images": "reference-image",
}


def column_name(text: str) -> str:
    """The column of this heading: `Negative Prompt` and `negative_prompt` are `negative-prompt`.

    A heading that names none of ours is itself.
    """
    key = re.sub(r"[\s_-]+", "-", text.strip().casefold())
    key = _ALIASES.get(key, key)
    return key if key in COLUMNS else text.strip()


def check_columns(header: Sequence[object], file: str) -> list[str]:
    """The columns of a table's header. Raises UserError if it is empty, or names none of ours, or one of them twice."""
    columns = [column_name("" if cell is None else str(cell)) for cell in header]
    while columns and not columns[-1]:
        columns.pop()
    if not columns:
        raise UserError(f"{file} is empty; its first row must name the columns, such as prompt,seed.")
    if not set(columns) & set(COLUMNS):
        raise UserError(f"{file} has an unknown column '{columns[0][:80]}'; known: {', '.join(COLUMNS)}.")
    for number, column in enumerate(columns):
        if column in columns[:number]:
            if column in COLUMNS:
                raise UserError(f"{file} has two columns '{column}'; keep one of them.")
            columns[number] = f"{column} {number + 1}".strip()
        elif not column:
            columns[number] = f"column {number + 1}"
    return columns


def unknown_warning(names: Iterable[str]) -> str:
    """One sentence about unknown columns."""
    shown = list(names)
    listed = ", ".join(f"'{name[:40]}'{_meant(name)}" for name in shown[:5])
    more = f" and {len(shown) - 5} more" if len(shown) > 5 else ""
    is_one = len(shown) == 1
    return (
        f"The column{'' if is_one else 's'} {listed}{more} {'sets' if is_one else 'set'} nothing of a clip; what "
        f"{'it holds' if is_one else 'they hold'} is kept as the clip's note."
    )


def _meant(name: str) -> str:
    if name in OF_THE_SHOT:
        return " (it goes with a column shot)"
    close = difflib.get_close_matches(re.sub(r"[\s_]+", "-", name.casefold()), COLUMNS, n=1, cutoff=0.75)
    return f" (did you mean {close[0]}?)" if close else ""
