"""Numbers, amounts of data, lengths of time and names of files, as the page and the command line write them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path


def plural(count: int, noun: str) -> str:
    """For example: 1 clip, 12 clips, 1,234 clips."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def are_there(count: int, noun: str, whole: str) -> str:
    """`1 clip of it is there already`, `2 clips of it are there already`."""
    return f"{plural(count, noun)} of {whole} {'is' if count == 1 else 'are'} there already"


def listed(names: Sequence[str]) -> str:
    """For example: anna, anna and ben, anna, ben and the hut."""
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)


def after_other_clips(count: int) -> str:
    """The end of a sentence about a clip that waits for others; empty if it does not: , after 2 other clips"""
    return f", after {plural(count, 'other clip')}" if count else ""


def lower_first(sentence: str) -> str:
    """A sentence to continue another one with."""
    return sentence[:1].lower() + sentence[1:]


def upper_first(sentence: str) -> str:
    """A sentence of its own. Unlike `capitalize` it leaves the other letters as they are."""
    return sentence[:1].upper() + sentence[1:]


def duration(seconds: float) -> str:
    """For example: 6 s, 2 min 30 s, 1 h 5 min."""
    whole = max(round(seconds), 1)
    if whole < 60:
        return f"{whole} s"
    if whole < 600:
        return f"{whole // 60} min {whole % 60 // 10 * 10} s" if whole % 60 >= 10 else f"{whole // 60} min"
    if whole < 3600:
        return f"{whole // 60} min"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def data_size(count: float) -> str:
    """Bytes, in units of 1000: 512 kB, 58.7 MB, 29.0 GB."""
    if count < 1e6:
        return f"{count / 1e3:,.0f} kB"
    return f"{count / 1e6:,.1f} MB" if count < 1e8 else f"{count / 1e9:,.1f} GB"


def without_folders(text: str, known: Iterable[Path] = ()) -> str:
    """A sentence for those who are not at this computer: "/tmp/gradio/ab/a.mp4 is gone" becomes "a.mp4 is gone".

    `known` folders are found whatever they are called; of others, those with spaces only between quotes.
    """
    for folder in known:
        text = text.replace(str(folder), folder.name)
    return _FOLDERS.sub("", _QUOTED.sub("'", text))


_FOLDERS = re.compile(r"(?<![\w.:/\\~-])(?:/|[A-Za-z]:[/\\]|\\\\)(?:[^\s/\\'\":;,()]+[/\\])+")
"""The folders of an absolute path."""
_QUOTED = re.compile(r"'(?:/|[A-Za-z]:[/\\]|\\\\)(?:[^'/\\]+[/\\])+")
"""The same after a quote, with whatever is in their names."""


def first_of(texts: Sequence[str]) -> str:
    """The first, and how many more there are: "a and 1,204 more"."""
    return f"{texts[0]} and {len(texts) - 1:,} more" if len(texts) > 1 else texts[0]
