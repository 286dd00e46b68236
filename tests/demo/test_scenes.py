"""The drawn world: the same scenes give the same pixels, and each motion is what its name says."""

from __future__ import annotations

import math

import pytest
import torch

from tests.support.soak import first_only
from wan_pipeline.demo.motions import Pose, poses
from wan_pipeline.demo.scenes import CHANCES, Scenes, render, sample_scenes, split
from wan_pipeline.demo.vocabulary import COLORS, LOOKS, MOTIONS, OBJECTS, PALETTE, PLACES, is_held_out

FRAMES = 33
SECONDS = torch.arange(FRAMES) / 16
HALF_WIDTH, HALF_HEIGHT = 320 / 192 / 2, 0.5
MANY = 64


def path(motion: str) -> Pose:
    """The path of many objects that differ by chance."""
    chance = torch.rand(MANY, CHANCES, generator=torch.Generator().manual_seed(7))
    kind = torch.full((MANY,), MOTIONS.index(motion))
    return poses(kind, chance, SECONDS, 2.0, HALF_WIDTH, HALF_HEIGHT)


def one_of_each() -> Scenes:
    """Twelve scenes with every object, colour, motion, place and look among them."""
    index = torch.arange(12)
    sizes = (OBJECTS, COLORS, MOTIONS, PLACES, LOOKS)
    chance = torch.rand(12, CHANCES, generator=torch.Generator().manual_seed(3))
    return Scenes(*(index % len(words) for words in sizes), chance=chance)


def test_the_same_scenes_give_the_same_pixels() -> None:
    frames = torch.tensor([0, 20])
    one, one_mask = render(one_of_each(), 80, 48, frames, FRAMES)
    two, two_mask = render(one_of_each(), 80, 48, frames, FRAMES)
    assert torch.equal(one, two)
    assert torch.equal(one_mask, two_mask)


def test_pixels_do_not_depend_on_their_neighbours_in_the_batch() -> None:
    scenes = one_of_each()
    alone, _ = render(scenes.select(torch.tensor([5])), 80, 48, torch.tensor([8]), FRAMES)
    together, _ = render(scenes, 80, 48, torch.tensor([8]), FRAMES)
    torch.testing.assert_close(alone[0], together[5])


@pytest.mark.parametrize("size", first_only([(80, 48), (48, 80), (64, 64)]), ids=str)
def test_objects_are_in_the_frame(size: tuple[int, int]) -> None:
    width, height = size
    scenes = sample_scenes(48, torch.Generator().manual_seed(11))
    pixels, mask = render(scenes, width, height, torch.tensor([0, 16, 32]), FRAMES)
    assert pixels.shape == (48, 3, 3, height, width)
    assert mask.shape == (48, 1, 3, height, width)
    assert pixels.min() >= 0
    assert pixels.max() <= 1
    assert mask.min() >= 0
    assert mask.max() <= 1
    share = mask.mean((1, 3, 4))
    assert share.min() > 0.003, "an object is out of sight"
    assert share.max() < 0.5, "an object fills the frame"


def test_objects_have_their_colour() -> None:
    """A ball in the middle of each colour: most of it is near the palette's."""
    count = len(COLORS)
    chance = torch.full((count, CHANCES), 0.5)
    still = torch.full((count,), MOTIONS.index("still"))
    zero = torch.zeros(count, dtype=torch.int64)
    pixels, mask = render(
        Scenes(zero, torch.arange(count), still, zero, zero, chance), 80, 48, torch.tensor([0]), FRAMES
    )
    for k, name in enumerate(COLORS):
        body = pixels[k, :, 0, :, :][:, mask[k, 0, 0] > 0.9]
        assert (body.median(1).values - torch.tensor(PALETTE[name])).abs().max() < 0.25, name


@pytest.mark.parametrize(
    ("motion", "sign", "axis"), [("left", -1, "x"), ("right", 1, "x"), ("up", -1, "y"), ("down", 1, "y")]
)
def test_straight_motions_go_their_way_and_no_other(motion: str, sign: int, axis: str) -> None:
    pose = path(motion)
    along, aside = (pose.x, pose.y) if axis == "x" else (pose.y, pose.x)
    assert ((along[:, 1:] - along[:, :-1]) * sign > 0).all()
    assert ((along[:, -1] - along[:, 0]) * sign > 0.2).all()
    torch.testing.assert_close(aside, aside[:, :1].expand_as(aside))


def test_bounce_comes_back_to_the_ground_and_is_flattened_there() -> None:
    pose = path("bounce")
    ground = HALF_HEIGHT - 0.25
    assert pose.y.max() <= ground + 1e-6
    assert (pose.y.amax(1) > ground - 0.06).all()
    assert (pose.y.amin(1) < ground - 0.2).all()
    torch.testing.assert_close(pose.x, pose.x[:, :1].expand_as(pose.x))
    low, high = pose.squash.gather(1, pose.y.argmax(1, True)), pose.squash.gather(1, pose.y.argmin(1, True))
    assert (low < high).all()


def test_circle_goes_all_the_way_round() -> None:
    pose = path("circle")
    middle = (pose.x.amax(1, True) + pose.x.amin(1, True)) / 2, (pose.y.amax(1, True) + pose.y.amin(1, True)) / 2
    angle = torch.atan2(pose.y - middle[1], pose.x - middle[0])
    step = torch.remainder(angle[:, 1:] - angle[:, :-1] + math.pi, 2 * math.pi) - math.pi
    assert (step > 0).all()
    assert (step.sum(1) > 2 * math.pi).all()


def test_spin_turns_about_once_in_place() -> None:
    pose = path("spin")
    assert ((pose.angle[:, -1] - pose.angle[:, 0]) >= 2 * math.pi * 0.99).all()
    assert (pose.x == pose.x[:, :1]).all()
    assert (pose.y == pose.y[:, :1]).all()


@pytest.mark.parametrize(("motion", "sign"), [("grow", 1), ("shrink", -1)])
def test_growing_and_shrinking_change_the_size_alone(motion: str, sign: int) -> None:
    pose = path(motion)
    assert ((pose.scale[:, 1:] - pose.scale[:, :-1]) * sign > 0).all()
    assert ((pose.scale[:, -1] / pose.scale[:, 0]).log() * sign > math.log(1.75)).all()
    assert (pose.x == pose.x[:, :1]).all()


def test_still_is_still() -> None:
    pose = path("still")
    for track in (pose.x, pose.y, pose.scale, pose.angle, pose.squash):
        assert (track == track[:, :1]).all()


def test_only_those_that_spin_turn() -> None:
    assert all((path(motion).angle == 0).all() for motion in MOTIONS if motion != "spin")


# The split ---------------------------------------------------------------------------------------------------------


def test_a_tenth_or_more_of_the_combinations_is_held_out_and_none_is_on_both_sides() -> None:
    held, trained = (set(map(tuple, split(side).tolist())) for side in (True, False))
    assert len(held) >= 0.10 * len(split(None))
    assert not held & trained
    assert len(held | trained) == len(OBJECTS) * len(COLORS) * len(MOTIONS) * len(PLACES)


def test_every_word_is_on_both_sides_of_the_split() -> None:
    for side in (True, False):
        for column, words in enumerate((OBJECTS, COLORS, MOTIONS, PLACES)):
            assert set(split(side)[:, column].tolist()) == set(range(len(words)))


def test_lots_for_training_hold_nothing_held_out() -> None:
    scenes = sample_scenes(2000, torch.Generator().manual_seed(5), held_out=False)
    rows = zip(scenes.obj.tolist(), scenes.color.tolist(), scenes.motion.tolist(), scenes.place.tolist(), strict=True)
    assert not any(is_held_out(*row) for row in rows)


def test_lots_follow_their_seed_and_share_of_looks() -> None:
    one, two = (sample_scenes(2000, torch.Generator().manual_seed(5), styled=0.25) for _ in range(2))
    assert torch.equal(one.chance, two.chance)
    assert torch.equal(one.obj, two.obj)
    assert 0.2 < (one.look > 0).float().mean() < 0.3
    assert set(one.look.tolist()) == set(range(len(LOOKS)))
