"""A richer prompt for a model that knows a small world: what the prompt leaves open is filled in, by the seed."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping

from wan_pipeline.models.vocabulary.words import Vocabulary, words_of
from wan_pipeline.requests.prompts.characters import MENTION

Phrase = tuple[str, ...]
Known = Mapping[Phrase, tuple[str, str]]
"""The group of each phrase and how it is written here: motions in the third person, places with their preposition."""


def enrich(prompt: str, vocabulary: Vocabulary, seed: int) -> str:
    """A prompt that names an object, its colour, its motion and a place; the same for the same prompt and seed.

    What the prompt says of these is kept in its words, and so are names such as `@anna`; what the model does not know
    is left out.
    """
    chance = random.Random(seed)
    said = _said(MENTION.sub(" ", prompt), vocabulary)
    named = [found[0] for found in MENTION.finditer(prompt)]
    adjective, adverb = (chance.choice(vocabulary.sentences[kind]) for kind in ("adjectives", "adverbs"))
    color, thing = (chance.choice([*names]) for names in (vocabulary.colors, vocabulary.objects))
    verb = chance.choice([*vocabulary.motions.values()])[0].third
    place = chance.choice([*vocabulary.places.values()])[0]
    size, color, thing = said.get("adjective", adjective), said.get("color", color), said.get("object", thing)
    subject = " and ".join(named) if named else f"{'an' if size[0] in 'aeiou' else 'a'} {size} {color} {thing}"
    motion = f"{said.get('adverb', adverb)} {said.get('motion', verb)}"
    text = f"{subject} {motion} {said.get('place', place)}"
    look = f", {said['look']}" if "look" in said else ""
    return f"{text[:1].upper()}{text[1:]}{look}"


def _said(prompt: str, vocabulary: Vocabulary) -> dict[str, str]:
    """What a prompt says of each group, the first it says of it."""
    said: dict[str, str] = {}
    for group, text in _read(words_of(prompt), _known(vocabulary)):
        said.setdefault(group, text)
    return said


def _read(words: list[str], known: Known) -> Iterator[tuple[str, str]]:
    """The known phrases among words, the longest first."""
    longest, at = max(map(len, known)), 0
    while at < len(words):
        tails = (tuple(words[at : at + length]) for length in range(longest, 0, -1))
        phrase = next((tail for tail in tails if tail in known), None)
        if phrase is not None:
            yield known[phrase]
        at += len(phrase) if phrase else 1


def _known(vocabulary: Vocabulary) -> Known:
    known = {phrase: (group, " ".join(phrase)) for phrase, (group, _) in vocabulary.phrases.items()}
    for phrases in vocabulary.places.values():
        with_preposition = next(phrase for phrase in phrases if " " in phrase)
        bare = [phrase for phrase in phrases if phrase.split()[0] not in _PREPOSITIONS]
        known |= {tuple(words_of(phrase)): ("place", with_preposition) for phrase in bare}
    for verbs in vocabulary.motions.values():
        for verb in verbs:
            forms = (verb.third, verb.gerund, verb.base)
            known |= {tuple(words_of(form)): ("motion", verb.third) for form in forms}
    for group, kind in (("adjective", "adjectives"), ("adverb", "adverbs")):
        known |= {tuple(words_of(word)): (group, word) for word in vocabulary.sentences[kind]}
    return known


_PREPOSITIONS = frozenset(
    {"in", "on", "at", "over", "above", "across", "among", "against", "under", "by", "high", "during", "while"}
)
