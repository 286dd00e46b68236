"""A richer prompt for a model that knows a small world: what the prompt leaves open is filled in, by the seed."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence

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
    told = {**_chosen(vocabulary, chance), **said}
    named = [found[0] for found in MENTION.finditer(prompt)]
    size, color, thing = told["adjective"], told["color"], told["object"]
    subject = " and ".join(named) if named else f"{'an' if size[0] in 'aeiou' else 'a'} {size} {color} {thing}"
    motion = _moving(told["motion"], said.get("adverb"), told["adverb"], vocabulary)
    places = _places("" if named else thing, vocabulary)
    text = f"{subject} {motion} {told.get('place') or chance.choice(places)}"
    look = f", {told['look']}" if "look" in told else ""
    return f"{text[:1].upper()}{text[1:]}{look}"


def _chosen(vocabulary: Vocabulary, chance: random.Random) -> dict[str, str]:
    """Something of each group that a prompt may leave open, but for the place, which depends on the object."""
    return {
        "adjective": chance.choice(vocabulary.sentences["adjectives"]),
        "adverb": chance.choice(vocabulary.sentences["adverbs"]),
        "color": chance.choice([*vocabulary.colors]),
        "object": chance.choice([*vocabulary.objects]),
        "motion": chance.choice([*vocabulary.motions.values()])[0].third,
    }


def _moving(verb: str, said: str | None, chosen: str, vocabulary: Vocabulary) -> str:
    """The verb with the adverb that was said, or else the chosen one where one can be: nothing stays still quickly.

    "Slowly" is before the verb, "fast" behind it.
    """
    at_rest = {each.third for each in vocabulary.motions.get("still", ())}
    has_own = not {*words_of(verb)}.isdisjoint(vocabulary.sentences["adverbs"])
    if said is None and (verb in at_rest or has_own):
        return verb
    adverb = said or chosen
    return f"{adverb} {verb}" if adverb.endswith("ly") else f"{verb} {adverb}"


def _places(thing: str, vocabulary: Vocabulary) -> Sequence[str]:
    """Where an object may be, by a phrase for it: at home if it has one."""
    _, name = vocabulary.phrases.get(tuple(words_of(thing)), ("", ""))
    return vocabulary.homes.get(name) or [phrases[0] for phrases in vocabulary.places.values()]


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
