"""Prompts made richer by the grammar: only words that the demo knows, the same by seed, nothing said lost."""

from __future__ import annotations

import pytest

from wan_pipeline.models.registry import DEMO
from wan_pipeline.models.vocabulary.words import demo_vocabulary, words_of
from wan_pipeline.requests.prompts.grammar import enrich
from wan_pipeline.requests.prompts.known_words import vocabulary_notes

WORDS = demo_vocabulary()


def test_what_is_said_is_kept_and_the_rest_is_filled_in() -> None:
    made = [enrich("a crimson sailboat, film noir", WORDS, seed) for seed in range(40)]
    assert all("crimson sailboat" in text and text.endswith(", film noir") for text in made)
    assert len(set(made)) > 20 and made[3] == enrich("a crimson sailboat, film noir", WORDS, 3)
    assert not [note for text in made for note in vocabulary_notes(text, DEMO)]


def test_motion_place_and_form_are_read() -> None:
    text = enrich("green hills, a red ball slowly bouncing", WORDS, 1)
    assert "slowly bounces" in text and "green hills" in text and "red ball" in text
    assert enrich(text, WORDS, 2) == text, "all of it is said"
    assert enrich("", WORDS, 5) != enrich("", WORDS, 6)


def test_names_stand_for_the_object() -> None:
    text = enrich("@anna-2 dancing on the moon with @ben", WORDS, 1)
    assert text.startswith("@anna-2 and @ben ") and "moon" not in text.split("@ben")[1][:6]


def test_fast_is_behind_the_verb_and_slowly_before_it() -> None:
    made = [enrich("a boat grows at sea", WORDS, seed) for seed in range(60)]
    fast = [text for text in made if "fast" in text]
    assert fast and all("boat grows fast at sea" in text for text in fast)
    assert any("boat slowly grows at sea" in text for text in made)
    assert "boat gets bigger fast" in enrich("a boat fast getting bigger", WORDS, 1)
    still = enrich("a ball stays still in the snow", WORDS, 1)
    assert still.endswith(" ball stays still in the snow") and enrich(still, WORDS, 2) == still
    assert "quietly stays still" in enrich("a ball quietly stays still", WORDS, 1)
    assert all("box rotates slowly in" in enrich("a box rotates slowly in winter", WORDS, seed) for seed in range(20))


@pytest.mark.parametrize(
    ("prompt", "thing"), [("a yacht", "boat"), ("tropical fish", "fish"), ("crescent moon", "moon")]
)
def test_an_object_without_a_place_is_at_home(prompt: str, thing: str) -> None:
    made = [enrich(prompt, WORDS, seed) for seed in range(20)]
    assert all(text.endswith(tuple(WORDS.homes[thing])) for text in made)
    assert "in the desert" in enrich(f"{prompt} in the desert", WORDS, 1), "what is said is kept"


def test_what_has_no_home_is_anywhere() -> None:
    anywhere = tuple(phrases[0] for phrases in WORDS.places.values())
    for prompt in ("a box", "a boat with @anna"):
        ends = {place for seed in range(60) for place in anywhere if enrich(prompt, WORDS, seed).endswith(place)}
        assert ends == {*anywhere}


def test_homes_are_phrases_of_places() -> None:
    homes = [phrase for phrases in WORDS.homes.values() for phrase in phrases]
    assert all(WORDS.phrases[tuple(words_of(phrase))][0] == "place" for phrase in homes)
    assert WORDS.homes.keys() <= WORDS.objects.keys()
