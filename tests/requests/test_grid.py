"""Grids: every prompt in every preset with every seed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support.requests import BALL
from wan_pipeline.errors import RequestError
from wan_pipeline.requests.grids.grid import MAX_CLIPS, grid, prompts_in, seeds_in
from wan_pipeline.requests.request import Draft


def test_a_grid_is_every_prompt_in_every_preset_with_every_seed() -> None:
    clips = grid(replace(BALL, width=320), ["a", "b"], [1, 2], ["noir", None])
    assert [(clip.prompt, clip.preset, clip.seed) for clip in clips] == [
        (prompt, preset, seed) for prompt in "ab" for preset in ("noir", None) for seed in (1, 2)
    ]
    assert {clip.width for clip in clips} == {320}


def test_an_empty_side_of_the_grid_is_taken_from_the_form() -> None:
    assert grid(replace(BALL, preset="noir"), ["a"]) == [replace(BALL, prompt="a", preset="noir")]
    assert grid(BALL, [], [3]) == [replace(BALL, seed=3)]


def test_presets_are_compared_on_one_seed() -> None:
    clips = grid(Draft(), ["a", "b"], [], ["noir", "comic", None])
    assert len({clip.seed for clip in clips[:3]}) == 1
    assert clips[0].seed is not None
    assert clips[0].seed != clips[3].seed


def test_a_grid_has_an_end() -> None:
    assert len(grid(Draft(), ["a"], range(MAX_CLIPS))) == MAX_CLIPS
    with pytest.raises(RequestError, match="makes 1,001 clips; at most 1,000 at once"):
        grid(Draft(), ["a"] * (MAX_CLIPS + 1))


def test_prompts_and_seeds_as_people_write_them() -> None:
    assert prompts_in(" a red ball \n\n\tb\r\n") == ["a red ball", "b"]
    assert seeds_in("1-3, 9 12;3 - 4,") == [1, 2, 3, 9, 12, 4]
    assert seeds_in(" ") == []


@pytest.mark.parametrize(
    "text", ["a", "1.5", "0-999 " * 1001, "-1", "3-1", str(2**64), "0-4294967295", "9" * 5000, "٣"]
)
def test_seeds_that_cannot_be(text: str) -> None:
    with pytest.raises(RequestError, match=r"write them as 1-5, 9|out of range|use at most 1,000"):
        seeds_in(text)
