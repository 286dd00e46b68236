"""Prompts made richer by the grammar: only words that the demo knows, the same by seed, nothing said lost."""

from __future__ import annotations

from wan_pipeline.models.registry import DEMO
from wan_pipeline.models.vocabulary.words import demo_vocabulary
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
