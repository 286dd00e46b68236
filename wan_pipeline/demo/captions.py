"""Captions of the demo world in many phrasings, some of them incomplete, and their tokenizer."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from wan_pipeline.demo.vocabulary import COLORS, LOOKS, MOTIONS, OBJECTS, PLACES
from wan_pipeline.models.vocabulary.words import Verb, demo_vocabulary

MAX_TOKENS = 64
PAD, END, UNKNOWN = "<pad>", "</s>", "<unk>"
"""Token ids 0, 1 and 2, as in UMT5."""
PUNCTUATION = ", . ; : ! ?"


@dataclass(frozen=True)
class SceneWords:
    """One scene as indices into `vocabulary`."""

    obj: int
    color: int
    motion: int
    place: int
    look: int


@dataclass(frozen=True)
class Phrases:
    """The wordings of each group, in the order of `demo.vocabulary`."""

    objects: list[Sequence[str]]
    colors: list[Sequence[str]]
    motions: list[Sequence[Verb]]
    places: list[Sequence[str]]
    looks: list[Sequence[str]]
    sentences: Mapping[str, Sequence[str]]


@cache
def phrases() -> Phrases:
    known = demo_vocabulary()
    return Phrases(
        objects=[known.objects[name] for name in OBJECTS],
        colors=[known.colors[name] for name in COLORS],
        motions=[known.motions[name] for name in MOTIONS],
        places=[known.places[name] for name in PLACES],
        looks=[known.looks[name] for name in LOOKS],
        sentences=known.sentences,
    )


def caption(scene: SceneWords, rng: random.Random, given_image: bool = False) -> str:
    """Return a random caption of the scene. Some leave something out; some add words without meaning."""
    words, sentences = phrases(), phrases().sentences
    verb = rng.choice(words.motions[scene.motion])
    noun = rng.choice(words.objects[scene.obj])
    color = rng.choice(words.colors[scene.color]) if rng.random() > 0.06 else ""
    place = rng.choice(words.places[scene.place]) if rng.random() > 0.07 else ""
    if rng.random() < 0.05:
        noun = rng.choice(sentences["nameless"])
    if rng.random() < 0.12:
        color = f"{rng.choice(sentences['adjectives'])} {color}"
    if rng.random() < 0.12:
        adverb = rng.choice(sentences["adverbs"])
        verb = rng.choice((verb + adverb, verb.after(adverb)))
    text = _sentence(_kind_of_sentence(rng, given_image), color, noun, verb, place, rng)
    return _dress(text, scene.look, rng)


def full_caption(scene: SceneWords, rng: random.Random) -> str:
    """Return a random complete caption of the scene in natural light, as used for evaluation."""
    words = phrases()
    verb, place = rng.choice(words.motions[scene.motion]), rng.choice(words.places[scene.place])
    color, noun = rng.choice(words.colors[scene.color]), rng.choice(words.objects[scene.obj])
    return _sentence("whole", color, noun, verb, place, rng)


def _sentence(kind: str, color: str, noun: str, verb: Verb, place: str, rng: random.Random) -> str:
    sentences = phrases().sentences
    return rng.choice(sentences[kind]).format(
        a=rng.choice(sentences["articles"]),
        thing=f"{color} {noun}",
        noun=noun,
        third=verb.third,
        gerund=verb.gerund,
        base=verb.base,
        place=place,
    )


def _kind_of_sentence(rng: random.Random, given_image: bool) -> str:
    """Most captions name everything; with an image, a third name the motion alone."""
    if rng.random() < 0.05:
        return "still_life"
    return "about_an_image" if given_image and rng.random() < 0.35 else "whole"


def _dress(text: str, look: int, rng: random.Random) -> str:
    """Add an opening, filler words, the look, and unknown words, each at random."""
    words = phrases()
    if rng.random() < 0.08:
        text = f"{rng.choice(words.sentences['openings'])} {text}"
    if rng.random() < 0.06:
        text = f"{text}, {rng.choice(words.sentences['filler'])}"
    if look_phrases := words.looks[look]:
        phrase = rng.choice((look_phrases[0], rng.choice(look_phrases)))
        text = f"{text}, {phrase}" if rng.random() < 0.8 else f"{phrase}, {text}"
    tokens = text.split()
    if rng.random() < 0.10:
        for _ in range(rng.randint(1, 4)):
            tokens.insert(rng.randint(0, len(tokens)), UNKNOWN)
    if rng.random() < 0.15:
        tokens.append(".")
    return " ".join(tokens)


def _all_phrases() -> Iterator[str]:
    words = phrases()
    for groups in (words.objects, words.colors, words.places, words.looks):
        for group in groups:
            yield from group
    for verbs in words.motions:
        for verb in verbs:
            yield from (verb.third, verb.gerund, verb.base)
    for group in words.sentences.values():
        yield from group
    yield PUNCTUATION


def make_tokenizer() -> PreTrainedTokenizerFast:
    """Return a word-level tokenizer whose vocabulary is the words of the captions, and last the trigger words."""
    splitter = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation()])
    words = {
        word
        for phrase in _all_phrases()
        for word, _ in splitter.pre_tokenize_str(phrase.replace("{", "").replace("}", ""))
    }
    triggers = demo_vocabulary().triggers
    vocabulary = {word: index for index, word in enumerate([PAD, END, UNKNOWN, *sorted(words), *triggers])}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    backend.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    backend.pre_tokenizer = splitter
    backend.post_processor = processors.TemplateProcessing(single=f"$A {END}", special_tokens=[(END, vocabulary[END])])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token=PAD, eos_token=END, unk_token=UNKNOWN, model_max_length=MAX_TOKENS
    )
