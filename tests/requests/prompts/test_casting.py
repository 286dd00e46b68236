"""`@anna` in a prompt brings in what the model can use, and says what it cannot."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from wan_pipeline.errors import LoraError
from wan_pipeline.models.registry import find
from wan_pipeline.requests.prompts.casting import cast
from wan_pipeline.requests.prompts.characters import Character, CharacterKind, mentions
from wan_pipeline.requests.request import Draft, LoraChoice

ONE, TWO, THREE = ("1" * 64, "2" * 64, "3" * 64)
ANNA = Character(sentence="a woman with red hair.", lora=LoraChoice("anna", 0.8), pictures=(ONE, TWO))
MILL = Character(CharacterKind.PLACE, "an old mill", pictures=(THREE,))
CAST = {"Anna": ANNA, "old-mill": MILL}
PROMPT = Draft(prompt="@anna walks by @old-mill, mail a@anna.org")


def trigger(lora: LoraChoice) -> str:
    return "ohwx"


def test_an_address_is_no_mention_and_each_name_comes_once() -> None:
    assert list(mentions("@anna, @anna's hat; a@b.org, @old-mill.")) == ["anna", "old-mill"]


def test_words_a_lora_with_its_trigger_word_and_references() -> None:
    vace = find("wan2.1-vace-1.3b")
    found = cast(PROMPT, CAST, vace, (LoraChoice("ink"),), trigger)
    assert found.draft.prompt == "ohwx, a woman with red hair walks by an old mill, mail a@anna.org"
    assert found.draft.loras == (LoraChoice("ink"), LoraChoice("anna", 0.8))
    assert (found.image, found.references, found.notes) == (None, (ONE, THREE, TWO), ())
    full = cast(replace(PROMPT, reference_images=(Path("x"),) * 3), CAST, vace, (), trigger)
    assert full.references == (ONE,) and "2 of the pictures of @Anna and @old-mill are not used" in full.notes[0]


def test_the_first_frame_of_a_model_that_starts_from_a_picture() -> None:
    needs, may, cannot = map(find, ("wan2.1-i2v-14b-480p", "wan2.2-ti2v-5b", "wan2.1-t2v-1.3b"))
    found = cast(PROMPT, CAST, needs, (), trigger)
    assert found.image == ONE and "@old-mill are not used" in found.notes[0]
    assert cast(PROMPT, CAST, may, (), trigger).image == THREE, "a LoRA shows the other"
    own = cast(replace(PROMPT, image=Path("own.png")), CAST, needs, (), trigger)
    assert own.image is None and "a picture of its own" in own.notes[0]
    text = cast(PROMPT, CAST, cannot, (), trigger)
    assert text.image is None and "takes no pictures" in text.notes[0]


def test_what_cannot_be_used_is_told() -> None:
    def refuse(lora: LoraChoice) -> str:
        raise LoraError("no")

    model = find("wan2.1-t2v-1.3b")
    found = cast(Draft(prompt="@anna and @bob"), CAST, model, (), refuse)
    assert found.draft.prompt == "a woman with red hair and @bob" and found.draft.loras is None
    assert [note.split(":")[0] for note in found.notes] == [
        "@bob is read as text",
        "The LoRA of @Anna is left out",
        "Pictures of @Anna are not used",
    ]
    kept = cast(PROMPT, CAST, model, (LoraChoice("ANNA", 0.3),), trigger)
    assert kept.draft.loras is None, "the one that is chosen keeps its weight"
    by_expert = {"anna": replace(ANNA, lora=LoraChoice("anna", weight_high=1.0, weight_low=0.5))}
    assert "left out" in cast(PROMPT, by_expert, model, (), trigger).notes[1]


@pytest.mark.parametrize("prompt", ["a red ball", "me@home.org"])
def test_a_prompt_that_names_nobody_stays(prompt: str) -> None:
    draft = Draft(prompt=prompt)
    assert cast(draft, CAST, find("wan2.1-t2v-1.3b"), (), trigger).draft is draft
