"""Captions say what is in the scene, and the tokenizer reads every word of them and survives all others."""

from __future__ import annotations

import random
import re
from functools import cache

import pytest
from transformers import PreTrainedTokenizerFast

from wan_pipeline.demo.captions import MAX_TOKENS, UNKNOWN, SceneWords, caption, full_caption, make_tokenizer, phrases
from wan_pipeline.demo.vocabulary import COLORS, LOOKS, MOTIONS, OBJECTS, PLACES

SIZES = {"obj": OBJECTS, "color": COLORS, "motion": MOTIONS, "place": PLACES}
UNKNOWN_ID = 2


@cache
def tokenizer() -> PreTrainedTokenizerFast:
    return make_tokenizer()


def scenes(count: int, looks: int = len(LOOKS)) -> list[SceneWords]:
    rng = random.Random(1)
    return [
        SceneWords(**{name: rng.randrange(len(words)) for name, words in SIZES.items()}, look=rng.randrange(looks))
        for _ in range(count)
    ]


def says_one_of(text: str, wordings: list[str]) -> bool:
    return any(re.search(rf"\b{re.escape(wording)}\b", text) for wording in wordings)


def test_every_word_of_the_vocabulary_has_wordings_of_its_own() -> None:
    words = phrases()
    for groups in (words.objects, words.colors, words.places):
        for k, group in enumerate(groups):
            others = {wording for other in groups[:k] + groups[k + 1 :] for wording in other}
            assert len(set(group)) >= 2
            assert not others & set(group)
    verbs = [{form for verb in group for form in (verb.third, verb.gerund, verb.base)} for group in words.motions]
    for k, group in enumerate(verbs):
        assert not any(group & other for other in verbs[:k] + verbs[k + 1 :])


def test_a_full_caption_names_all_that_is_in_the_scene() -> None:
    words, rng = phrases(), random.Random(2)
    for scene in scenes(500, looks=1):
        text = full_caption(scene, rng)
        verbs = [form for verb in words.motions[scene.motion] for form in (verb.third, verb.gerund, verb.base)]
        assert says_one_of(text, words.objects[scene.obj]), text
        assert says_one_of(text, words.colors[scene.color]), text
        assert says_one_of(text, words.places[scene.place]), text
        assert says_one_of(text, verbs), text
        assert "{" not in text


def test_a_training_caption_says_most_things_and_nothing_false() -> None:
    words, rng = phrases(), random.Random(3)
    said = 0
    for scene in scenes(400):
        text = caption(scene, rng)
        said += says_one_of(text, words.colors[scene.color])
        for other in set(range(len(COLORS))) - {scene.color}:
            plain = COLORS[other]
            in_other_words = [
                *words.colors[scene.color],
                *words.places[scene.place],
                *words.looks[scene.look],
                *words.objects[scene.obj],
            ]
            if not any(plain in wording for wording in in_other_words):
                assert not says_one_of(text, [plain]), text
    assert said > 320


def test_beside_an_image_the_motion_alone_is_often_enough() -> None:
    words, rng = phrases(), random.Random(4)
    texts = [(scene, caption(scene, rng, given_image=True)) for scene in scenes(300)]
    without_place = sum(not says_one_of(text, words.places[scene.place]) for scene, text in texts)
    assert 50 < without_place < 200


def test_captions_follow_their_random_numbers() -> None:
    scene = scenes(1)[0]
    assert caption(scene, random.Random(5)) == caption(scene, random.Random(5))
    assert full_caption(scene, random.Random(5)) == full_caption(scene, random.Random(5))
    assert len({full_caption(scene, random.Random(seed)) for seed in range(50)}) > 30


def test_the_tokenizer_knows_every_word_of_every_caption() -> None:
    rng = random.Random(6)
    for scene in scenes(1000):
        text = caption(scene, rng, given_image=rng.random() < 0.5).replace(UNKNOWN, "")
        assert UNKNOWN_ID not in tokenizer()(text).input_ids, text


def test_captions_fit_the_text_encoder() -> None:
    rng = random.Random(7)
    assert max(len(tokenizer()(caption(scene, rng)).input_ids) for scene in scenes(1000)) <= MAX_TOKENS


def test_special_tokens_are_numbered_as_umt5_numbers_them() -> None:
    assert (tokenizer().pad_token_id, tokenizer().eos_token_id, tokenizer().unk_token_id) == (0, 1, 2)
    padded = tokenizer()("a red ball", padding="max_length", max_length=MAX_TOKENS).input_ids
    assert len(padded) == MAX_TOKENS
    assert padded[3] == 1
    assert padded[4:] == [0] * (MAX_TOKENS - 4)


def test_case_and_width_of_letters_do_not_matter() -> None:
    assert tokenizer()("A RED Ball").input_ids == tokenizer()("a red ball").input_ids
    assert tokenizer()("ｒｅｄ").input_ids == tokenizer()("red").input_ids


@pytest.mark.parametrize(
    "text", ["", "xylophone", "红色的球向左移动", "🎈🎈", "a\u0000b", "<b>red</b>", "\u202eder", "e\u0301", "\n\t "]
)
def test_any_text_gives_tokens_of_the_vocabulary(text: str) -> None:
    ids = tokenizer()(text).input_ids
    assert ids[-1] == 1
    assert all(0 <= token < len(tokenizer()) for token in ids)


def test_unknown_words_leave_the_known_ones_as_they_are() -> None:
    ids = tokenizer()("a red zeppelin ball").input_ids
    assert ids == [*tokenizer()("a red").input_ids[:-1], UNKNOWN_ID, *tokenizer()("ball").input_ids]


def test_a_long_prompt_is_cut_and_still_ends() -> None:
    ids = tokenizer()("red ball " * 20_000, truncation=True, max_length=MAX_TOKENS).input_ids
    assert len(ids) == MAX_TOKENS
    assert ids[-1] == 1
