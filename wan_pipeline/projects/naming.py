"""Names of clips by a project's template: "{project}/{scene}_{shot}_{take:03}_{seed}"."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain, count
from pathlib import Path
from string import Formatter

from wan_pipeline.clips.files import BIN

MAX_TEMPLATE = 200
MAX_PART = 80
"""Characters of one folder or name: long enough for people, short enough for Windows' whole path."""
FIELDS = ("project", "scene", "shot", "take", "seed", "model", "preset", "date", "time", "prompt")
NUMBERS = ("take", "seed")
"""Fields that take a width: {take:03} is 007."""
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)", re.IGNORECASE)
"""Names that Windows keeps for devices, with any ending."""


@dataclass(frozen=True)
class ClipFacts:
    """What a template may name of a clip. What is empty leaves no gap in the name."""

    project: str
    seed: int
    take: int
    model: str
    preset: str = ""
    scene: str = ""
    shot: str = ""
    date: str = ""
    time: str = ""
    prompt: str = ""


def check_template(template: str) -> str:
    """Return the template, or raise ValueError that completes "'naming' = …: "."""
    if len(template) > MAX_TEMPLATE:
        raise ValueError(f"it has {len(template)} characters; use at most {MAX_TEMPLATE}")
    try:
        parts = list(Formatter().parse(template))
    except ValueError as error:
        raise ValueError(f"its braces do not match ({error}); write a brace that is meant twice") from None
    for _, name, width, conversion in parts:
        if name is None:
            continue
        if name not in FIELDS:
            raise ValueError(f"there is no field {{{name[:40]}}}; use {', '.join(f'{{{each}}}' for each in FIELDS)}")
        allowed = r"0?[1-9]?" if name in NUMBERS else ""
        if conversion or not re.fullmatch(allowed, width or ""):
            raise ValueError(
                f"{{{name}:{(width or '')[:20]}}} cannot be written; only take and seed have a width: {{take:03}}"
            )
    return template


def named(template: str, facts: ClipFacts) -> str:
    """The clip's path below a folder, without an ending, in parts between "/". Every part is a safe file name."""
    parts = [_part(part, facts) for part in template.split("/")]
    return "/".join(part for part in parts if part) or f"{facts.take:03}_{facts.seed}"


def safe_name(text: str) -> str:
    """The text as a file name on every system; empty if nothing of it can stand in one."""
    kept = "".join(
        character if character.isprintable() and character not in '<>:"/\\|?*' else "-" for character in text
    )
    kept = kept.strip(" .-_")[:MAX_PART].rstrip(" .")
    return f"{kept}-" if _RESERVED.fullmatch(kept.partition(".")[0]) else kept


def _part(template: str, facts: ClipFacts) -> str:
    """Empty fields take the joiners beside them along: "{scene}_{shot}_{seed}" without a scene is 010_7."""
    values = {name: value if isinstance(value, int) else safe_name(value) for name, value in vars(facts).items()}
    text = template.format(**{name: _Blank() if value == "" else value for name, value in values.items()})
    text = re.sub(r"([_\-. ]*\0[_\-. ]*)+", lambda gap: _joiner(gap[0]), text)
    return safe_name(text)


def _joiner(gap: str) -> str:
    """One of the joiners around an empty field."""
    return next((character for character in gap if character != "\0"), "")


class _Blank:
    """Stands for an empty field, also where it has a width."""

    def __format__(self, width: str) -> str:
        return "\0"


def tells_take(template: str, facts: ClipFacts) -> bool:
    """Whether another take has another name by the template."""
    return named(template, replace(facts, take=facts.take + 1)) != named(template, facts)


def is_numbered(name: str, bare: str) -> bool:
    """Whether `free_names` gives this name where the template, which tells no take, gives `bare`."""
    return name == bare or re.fullmatch(re.escape(bare) + r"_\d+", name) is not None


def free_names(template: str, facts: ClipFacts, folder: Path) -> Iterator[str]:
    """Names by the template that no clip in the folder or its bin has, one take after another. None without a template.

    A template without {take} gets a number at the end from the second clip of that name on.
    """
    if not template:
        return
    bare = named(template, facts)
    if not tells_take(template, facts):
        names: Iterator[str] = chain([bare], (f"{bare}_{number}" for number in count(2)))
    else:
        names = (named(template, replace(facts, take=take)) for take in count(facts.take))
    places = (folder, folder / BIN)
    yield from (name for name in names if not any((place / f"{name}.mp4").exists() for place in places))
