"""A screenplay as a list: one shot for each scene heading, with the action below it as its description.

Reads Fountain (https://fountain.io/syntax) and plain text with headings such as `INT. KITCHEN - DAY` or `SCENE 3`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from wan_pipeline.errors import UserError
from wan_pipeline.requests.lists.rows import NumberedRow
from wan_pipeline.requests.lists.shots import MAX_DESCRIPTION

FOUNTAIN = ".fountain"
STEP = 10
"""Between the ids of shots, so that others fit between them: 010, 020."""
_PLACE = r"(?:INT|EXT|EST|INT\.?/EXT|EXT\.?/INT|I/E)[. ]"
_HEADING = re.compile(
    rf"""^(?:(?P<before>\d+[A-Za-z]?)[.)]?\s+)?
    (?P<words>{_PLACE}.*?|(?:SCENE|SZENE|SCÈNE|ESCENA)\s+(?P<number>\d+[A-Za-z]?)\b.*?|\.(?![.]).+?)
    (?:(?<!\s)\s*\#(?P<after>[\w.-]+)\#)?$""",
    re.IGNORECASE | re.VERBOSE,
)
_REMARKS = (("/*", "*/"), ("[[", "]]"))
_NO_ACTION = re.compile(r"^(?:[#=~].*|>.*|[A-Z .]+ TO:|FADE (?:IN|OUT)[.:]?|===+)$")
_CUE = re.compile(r"@.+|(?=[^a-z(]*?[A-Z]{2})[^a-z(]*+(?:\([^)]*\)[^a-z(]*+)*")
"""Like the heading, linear in the length of a line, which may be that of the file."""


def is_script(text: str, ending: str) -> bool:
    """Whether a file is a screenplay: Fountain by its ending, plain text by a heading with INT. or EXT."""
    if ending.lower() == FOUNTAIN:
        return True
    return ending.lower() in (".txt", ".md") and any(_is_sure_heading(line) for line in text.splitlines())


def script_rows(text: str, file: str) -> Iterator[NumberedRow]:
    """A row for each scene, numbered by the line of its heading. Raises UserError for a text without a heading."""
    for opening, closing in _REMARKS:
        text = _without(opening, closing, text)
    lines = text.splitlines()
    starts = [number for number, line in enumerate(lines) if _heading(lines, number)]
    if not starts:
        raise UserError(f"{file} has no scene heading; begin each scene with a line such as INT. KITCHEN - DAY.")
    for count, (start, end) in enumerate(zip(starts, [*starts[1:], len(lines)], strict=True), 1):
        heading = _HEADING.match(lines[start].strip())
        if heading is None:
            continue
        scene = heading["after"] or heading["before"] or heading["number"] or str(count)
        place = _plain(heading["words"].lstrip("."))
        action = " ".join(_action(lines[start + 1 : end]))
        description = f"{place}. {action}" if action else place
        values = {"scene": scene, "shot": f"{count * STEP:03}", "description": description[:MAX_DESCRIPTION]}
        yield start + 1, values | {"prompt": (action or place)[:MAX_DESCRIPTION]}


def _without(opening: str, closing: str, text: str) -> str:
    """The text without its remarks, which leave their line breaks. One that is not closed is none."""
    kept, start = [], 0
    while (at := text.find(opening, start)) >= 0 and (end := text.find(closing, at + len(opening))) >= 0:
        kept += [text[start:at], "\n" * text.count("\n", at, end)]
        start = end + len(closing)
    return "".join([*kept, text[start:]])


def _heading(lines: list[str], number: int) -> bool:
    """Whether a line is a heading: in Fountain one has a blank line before it."""
    line = lines[number].strip()
    return bool(_HEADING.match(line)) and (number == 0 or not lines[number - 1].strip() or _is_sure_heading(line))


def _is_sure_heading(line: str) -> bool:
    """One that no sentence of the action is."""
    match = _HEADING.match(line.strip())
    return match is not None and bool(re.match(_PLACE, match["words"])) and match["words"].isupper()


def _action(lines: list[str]) -> Iterator[str]:
    """The paragraphs of a scene that are action: no dialogue, no transitions, no notes of the writer."""
    for paragraph in re.split(r"\n\s*\n", "\n".join(lines)):
        own = [line.strip() for line in paragraph.splitlines() if line.strip()]
        if not own or (_CUE.fullmatch(own[0]) and len(own) > 1):
            continue
        yield from (_plain(line.removeprefix("!")) for line in own if not _NO_ACTION.match(line))


def _plain(text: str) -> str:
    """Without the marks of bold, italic and underlined words."""
    return re.sub(r"(?<!\\)[*_]+", "", text).replace("\\", "").strip()
