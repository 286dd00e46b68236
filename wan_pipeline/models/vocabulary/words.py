"""The words of a model that knows a small world and nothing else, from a TOML file of phrases."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

_DEMO = Path(__file__).resolve().parent / "phrases.toml"


@dataclass(frozen=True)
class Verb:
    third: str
    gerund: str
    base: str

    def __add__(self, words: str) -> Verb:
        return Verb(*(f"{form} {words}" for form in (self.third, self.gerund, self.base)))

    def after(self, word: str) -> Verb:
        return Verb(*(f"{word} {form}" for form in (self.third, self.gerund, self.base)))


@dataclass(frozen=True)
class Vocabulary:
    """What the model knows, each thing by its name with the phrases for it, the plainest first."""

    objects: Mapping[str, Sequence[str]]
    colors: Mapping[str, Sequence[str]]
    motions: Mapping[str, Sequence[Verb]]
    places: Mapping[str, Sequence[str]]
    homes: Mapping[str, Sequence[str]]
    """Phrases of the places where an object is at home; one without any is anywhere."""
    looks: Mapping[str, Sequence[str]]
    sentences: Mapping[str, Sequence[str]]
    triggers: Sequence[str]
    """Words that mean nothing, each with an embedding of its own: a LoRA can give them a meaning."""
    words: frozenset[str]
    """Every word of every phrase, in lower case, and the trigger words."""
    phrases: Mapping[tuple[str, ...], tuple[str, str]]
    """Group and name of each phrase of a look, place, color or object, by its words."""


def find_vocabulary(name: str) -> Vocabulary | None:
    """The vocabulary that a `ModelSpec` names; None for a model that names none, for it knows far more words."""
    match name:
        case "":
            return None
        case "demo":
            return demo_vocabulary()
        case _:
            raise ValueError(f"There is no vocabulary '{name}'.")


@cache
def demo_vocabulary() -> Vocabulary:
    data = tomllib.loads(_DEMO.read_text(encoding="utf-8"))
    sideways = data["sideways"]
    walks = [_verb(line) for line in sideways["verbs"]]
    motions = {side: [walk + where for walk in walks for where in sideways[side]] for side in ("left", "right")}
    motions |= {name: [_verb(line) for line in lines] for name, lines in data["motions"].items()}
    groups = {name: data[name] for name in ("objects", "colors", "places", "homes", "looks", "sentences")}
    words = {word for phrase in _texts(data) for word in words_of(re.sub(r"\{\w+\}", " ", phrase))}
    named = {"look": "looks", "place": "places", "color": "colors", "object": "objects"}
    phrases = {
        tuple(words_of(phrase)): (kind, name)
        for kind, group in named.items()
        for name, wordings in groups[group].items()
        for phrase in wordings
    }
    triggers = tuple(data["triggers"]["words"])
    return Vocabulary(triggers=triggers, motions=motions, words=frozenset(words), phrases=phrases, **groups)


def words_of(text: str) -> list[str]:
    """The words of a text in lower case, without punctuation."""
    return re.findall(r"\w+", text.lower())


def _verb(line: str) -> Verb:
    return Verb(*line.split(" / "))


def _texts(value: Any) -> Iterator[str]:
    """All texts of nested tables and lists."""
    if isinstance(value, str):
        yield value
        return
    for item in value.values() if isinstance(value, dict) else value:
        yield from _texts(item)
