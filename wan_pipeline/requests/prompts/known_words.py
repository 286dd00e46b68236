"""What of a prompt a model of few words does not know, and a prompt that it does know."""

from __future__ import annotations

import random
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence

from wan_pipeline.models.spec import ModelSpec
from wan_pipeline.models.vocabulary.words import Vocabulary, find_vocabulary, words_of

MAX_SHOWN = 4
"""Unknown words that a sentence lists."""
_LINKS = frozenset(
    {
        *("an", "and", "are", "as", "be", "by", "can", "for", "from", "her", "his", "into", "its", "my", "of", "or"),
        *("our", "out", "over", "some", "that", "their", "then", "through", "to", "together", "toward", "towards"),
        *("up", "very", "we", "which", "while", "who", "will", "your"),
    }
)
"""Words that say nothing by themselves: they are not worth a warning."""
_TAG = re.compile(r"<[^<>]{1,300}>")
_WORD = re.compile(r"\w+(?:['’]\w+)*")


def vocabulary_notes(prompt: str, spec: ModelSpec) -> tuple[str, ...]:
    """What the model will not show of a prompt, a sentence each, the last with what it knows. None for most models."""
    vocabulary = find_vocabulary(spec.vocabulary)
    if vocabulary is None:
        return ()
    unknown, things = _unknown(prompt, vocabulary), _things(prompt, vocabulary)
    notes = []
    if unknown:
        notes.append(f"{spec.title} does not know {_listed(unknown)} and will not show {_them(unknown)}.")
    if len(things) > 1:
        notes.append(f"{spec.title} shows one object, and the prompt names {len(things)}: {', '.join(things)}.")
    return (*notes, _known(vocabulary)) if notes else ()


def write_prompt(spec: ModelSpec, chance: random.Random) -> str | None:
    """A prompt of which the model knows every word; None for a model that knows far more than could be listed."""
    vocabulary = find_vocabulary(spec.vocabulary)
    if vocabulary is None:
        return None
    color, thing = chance.choice([*vocabulary.colors]), chance.choice([*vocabulary.objects])
    verb = chance.choice([*vocabulary.motions.values()])[0].third
    place = chance.choice([*vocabulary.places.values()])[0]
    return f"{'An' if color[0] in 'aeiou' else 'A'} {color} {thing} {verb} {place}"


def _unknown(prompt: str, vocabulary: Vocabulary) -> list[str]:
    """Words as they are written, each once. Single letters and numbers are left out."""
    text = unicodedata.normalize("NFKC", _TAG.sub(" ", prompt))
    words = {word.lower(): word for word in reversed(_WORD.findall(text))}
    known = vocabulary.words | _LINKS
    found = [key for key in reversed(words) if key not in known and len(key) > 1 and not key.isdecimal()]
    return [words[key] for key in found]


def _things(prompt: str, vocabulary: Vocabulary) -> list[str]:
    """The objects that a prompt names: two colours of one object are two."""
    colors: dict[str, set[str]] = {}
    color = ""
    for group, name in _read(_TAG.sub(" ", prompt), vocabulary):
        if group == "color":
            color = name
            continue
        if group == "object":
            colors.setdefault(name, set()).update({color} - {""})
        color = ""
    return [f"{color} {thing}".strip() for thing, found in colors.items() for color in sorted(found) or [""]]


def _read(prompt: str, vocabulary: Vocabulary) -> Iterator[tuple[str, str]]:
    """Group and name of each phrase, the longest first: "rocket ship" is a rocket, "gift box" a box, "green hills" a
    place. Other words are ("", word)."""
    phrases, words = vocabulary.phrases, words_of(unicodedata.normalize("NFKC", prompt))
    longest, at = max(map(len, phrases)), 0
    while at < len(words):
        tails = (tuple(words[at : at + length]) for length in range(min(longest, len(words) - at), 0, -1))
        phrase = next((tail for tail in tails if tail in phrases), None)
        yield phrases[phrase] if phrase else ("", words[at])
        at += len(phrase) if phrase else 1


def _known(vocabulary: Vocabulary) -> str:
    motions = _any(verbs[0].third for verbs in vocabulary.motions.values())
    places = _any(phrases[0] for phrases in vocabulary.places.values())
    return f"It knows one {_any(vocabulary.objects)}, {_any(vocabulary.colors)}, that {motions}, {places}."


def _any(names: Iterable[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} or {last}"


def _listed(words: Sequence[str]) -> str:
    quoted = [f"'{word[:30]}'" for word in words[:MAX_SHOWN]]
    if len(words) > MAX_SHOWN:
        return f"{', '.join(quoted)} and {len(words) - MAX_SHOWN} more words"
    return f"{', '.join(quoted[:-1])} and {quoted[-1]}" if len(quoted) > 1 else quoted[0]


def _them(words: Sequence[str]) -> str:
    return "it" if len(words) == 1 else "them"
