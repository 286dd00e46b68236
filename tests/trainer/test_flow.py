"""Noise levels, noisy examples, the loss, the order of training and the recipes."""

from __future__ import annotations

import math
from dataclasses import fields, replace

import pytest
import torch

from wan_pipeline.models.memory import DEMO_MEMORY, WAN_14B, MemoryFacts
from wan_pipeline.trainer.batches import Batches, split
from wan_pipeline.trainer.dataset.buckets import Bucket
from wan_pipeline.trainer.flow import NoiseRange, add_noise, flow_loss, noise_levels
from wan_pipeline.trainer.recipe import FOLDER, Decay, Recipe, RecipeError, change, load_recipe, recipe_names


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_noise_levels_are_shifted_and_within_the_experts_range() -> None:
    plain, shifted = (noise_levels(4000, shift, 0.25, generator(), NoiseRange()) for shift in (1.0, 3.0))
    torch.testing.assert_close(shifted, 3 * plain / (1 + 2 * plain))
    assert abs(float(plain.mean()) - 0.5) < 0.02
    high = noise_levels(500, 12.0, 0.25, generator(), NoiseRange(low=0.875))
    low = noise_levels(500, 12.0, 0.25, generator(), NoiseRange(high=0.875))
    assert high.min() >= 0.875 > low.max()


def test_a_given_frame_is_clean_has_time_zero_and_does_not_count() -> None:
    clean, noise = torch.randn(2, 4, 3, 4, 6), torch.randn(2, 4, 3, 4, 6)
    given = torch.tensor([True, False])
    noisy = add_noise(clean, noise, torch.tensor([0.5, 0.25]), given, patch=(1, 2, 2))
    assert torch.equal(noisy.latents[0, :, 0], clean[0, :, 0])
    torch.testing.assert_close(noisy.latents[0, :, 1:], (clean + noise)[0, :, 1:] / 2)
    assert noisy.timestep.shape == (2, 3 * 2 * 3)
    assert noisy.timestep[0].tolist() == [0.0] * 6 + [500.0] * 12
    assert noisy.timestep[1].tolist() == [250.0] * 18
    wrong = noisy.velocity.clone()
    wrong[0, :, 0] += 100
    assert float(flow_loss(wrong, noisy)) == 0
    wrong[1, :, 0] += 1
    assert float(flow_loss(wrong, noisy)) == pytest.approx(1 / 5)  # one of the five frames that count
    plain = add_noise(clean, noise, torch.tensor([0.5, 0.25]), torch.tensor([False, False]), patch=None)
    assert plain.timestep.tolist() == [500.0, 250.0]


def test_every_example_comes_once_a_pass_in_batches_of_one_bucket() -> None:
    recipe = replace(load_recipe("style", DEMO_MEMORY), stills=4, clips=2)
    buckets = [Bucket(320, 192)] * 10 + [Bucket(256, 256)] * 3 + [Bucket(320, 192, 17)] * 3
    batches = Batches(buckets, range(16), recipe, generator())
    one_pass = [batches.next() for _ in range(6)]
    assert sorted(index for batch in one_pass for index in batch) == list(range(16))
    assert all(len({buckets[index] for index in batch}) == 1 for batch in one_pass)
    assert batches.rest == []
    assert [batches.next() for _ in range(6)] != one_pass


def test_stills_are_held_out_or_else_clips() -> None:
    recipe = replace(load_recipe("style", DEMO_MEMORY), held_out=0.2)
    used, held_out = split([Bucket(320, 192)] * 20 + [Bucket(320, 192, 17)] * 4, recipe, generator())
    assert len(held_out) == 4
    assert max(held_out) < 20
    assert sorted(used + held_out) == list(range(24))
    assert len(split([Bucket(320, 192)] * 5000, recipe, generator())[1]) == 8
    assert split([Bucket(320, 192)] * 9, recipe, generator())[1] == []
    assert len(split([Bucket(320, 192, 17)] * 20, recipe, generator())[1]) == 4
    assert split([Bucket(320, 192, 17)] * 9, recipe, generator())[1] == []


@pytest.mark.parametrize("name", recipe_names())
def test_recipes_are_whole_and_fall_to_nothing(name: str) -> None:
    small, large = load_recipe(name, DEMO_MEMORY), load_recipe(name, WAN_14B)
    assert small.learning_rate > 10 * large.learning_rate
    assert small.steps < large.steps
    assert large.high_noise_learning_rate <= large.learning_rate
    assert large.caption_dropout == 0.05 < small.caption_dropout
    for recipe in (small, large):
        rates = [recipe.rate(step) for step in range(recipe.steps)]
        assert max(rates) == pytest.approx(recipe.learning_rate, rel=0.01)
        assert rates[0] == pytest.approx(recipe.learning_rate / recipe.warm_up)
        assert rates[-1] <= recipe.learning_rate / (recipe.steps - recipe.warm_up) * 1.01
        written = [step for step in range(1, recipe.steps + 1) if recipe.is_checkpoint(step)]
        assert len(written) == recipe.checkpoints
        assert written[-1] == recipe.steps


@pytest.mark.parametrize("model", [DEMO_MEMORY, WAN_14B], ids=["demo", "14b"])
@pytest.mark.parametrize("subject", ["character", "motion", "product", "style"])
def test_a_pace_takes_more_or_less_time(subject: str, model: MemoryFacts) -> None:
    quick, balanced, thorough = (load_recipe(f"{subject}{pace}", model) for pace in ("-quick", "", "-thorough"))
    batches = [recipe.steps * recipe.accumulation for recipe in (quick, balanced, thorough)]
    assert batches == sorted(set(batches))
    assert (quick.average, balanced.average) == (0, 0) < (thorough.average, 1)
    assert quick.checkpoints <= balanced.checkpoints < thorough.checkpoints
    assert quick.title == f"{balanced.title}, quick"


def test_every_number_of_a_recipe_has_its_reason() -> None:
    """In its line, or in that of the style recipe, which says so for the others."""
    explained = set()
    for line in (FOLDER / "style.toml").read_text().partition("\n[quick]")[0].splitlines():
        name, _, rest = line.partition(" = ")
        explained |= {name} if "  # " in rest else set()
    assert explained == {field.name for field in fields(Recipe)} - {"title", "description"}


def test_numbers_of_a_recipe_can_be_replaced_within_reason() -> None:
    recipe = load_recipe("style", DEMO_MEMORY)
    short = change(recipe, steps=4, rank=8)
    assert (short.steps, short.rank, short.alpha, short.warm_up) == (4, 8, 8.0, 1)
    assert change(recipe, learning_rate=None) == recipe
    slower = change(recipe, learning_rate=recipe.learning_rate / 2)
    assert slower.peak_rate(high_noise=True) == pytest.approx(recipe.high_noise_learning_rate / 2)
    assert change(recipe, learning_rate=1e-7).high_noise_learning_rate == 1e-7
    assert replace(recipe, decay=Decay.COSINE).rate(recipe.steps // 2) < recipe.learning_rate
    rates = ({"learning_rate": rate} for rate in (5.0, 0.0, 1e-9, -1e-4, math.nan, math.inf))
    for wrong in ({"steps": 0}, {"rank": 4096}, *rates):
        with pytest.raises(RecipeError, match=next(iter(wrong))):
            change(recipe, **wrong)
    with pytest.raises(
        RecipeError, match=r"choose one of: character, motion, product, style; each also with -quick or -thorough"
    ):
        load_recipe("magic", DEMO_MEMORY)
