"""The judge of the demo model's clips: rules on known tracks, and verdicts on drawn clips whose contents are known."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from tests.support.soak import first_only
from training.judge import Judge
from training.judge.color import color_of
from training.judge.judge import WEIGHTS
from training.judge.motion import Measures, decide, motion_of
from training.judge.nets import HEIGHT, WIDTH, crop, track_of
from training.judge.training import augment, train
from wan_pipeline.demo.scenes import CHANCES, Scenes, render
from wan_pipeline.demo.vocabulary import COLORS, MOTIONS, OBJECTS, PLACES

FRAMES = 33
NOTHING = Measures(resized=0.0, across=0.0, down=0.0, width=0.0, height=0.0, straightness=1.0, circled=0.0, turned=0.0)


@cache
def judge() -> Judge:
    return Judge()


def scene(obj: str, color: str, motion: str, place: str, seed: int = 1) -> Scenes:
    index = (OBJECTS.index(obj), COLORS.index(color), MOTIONS.index(motion), PLACES.index(place))
    chance = torch.rand(1, CHANCES, generator=torch.Generator().manual_seed(seed))
    obj_, color_, motion_, place_ = torch.tensor([index]).unbind(1)
    return Scenes(obj_, color_, motion_, place_, torch.tensor([0]), chance)


def draw(scenes: Scenes) -> tuple[Tensor, Tensor]:
    """Frames (T, 3, 96, 160) and true masks (T, 1, 48, 80), as the judge sees them."""
    pixels, mask = render(scenes, WIDTH, HEIGHT, torch.arange(FRAMES), FRAMES)
    return pixels[0].transpose(0, 1), F.avg_pool2d(mask[0].transpose(0, 1), 2)


def to_frames(pixels: Tensor) -> NDArray[np.uint8]:
    return (pixels * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()


KNOWN = [
    ("ball", "red", "left", "day sky"),
    ("box", "orange", "right", "green hills"),
    ("triangle", "yellow", "up", "night sky"),
    ("star", "green", "down", "snow"),
    ("heart", "blue", "bounce", "desert"),
    ("sun", "purple", "circle", "sea"),
    ("moon", "white", "spin", "night sky"),
    ("boat", "pink", "grow", "sea"),
    ("bird", "red", "shrink", "snow"),
    ("balloon", "blue", "still", "green hills"),
    ("fish", "yellow", "spin", "sea"),
    ("rocket", "white", "up", "desert"),
]


@pytest.mark.parametrize("words", first_only(KNOWN), ids=lambda words: " ".join(words))
def test_known_clips_are_seen_as_what_they_are(words: tuple[str, str, str, str]) -> None:
    pixels, _ = draw(scene(*words))
    verdict = judge().judge(to_frames(pixels))
    assert None not in (verdict.obj, verdict.color, verdict.motion)
    seen = (OBJECTS[verdict.obj or 0], COLORS[verdict.color or 0], MOTIONS[verdict.motion or 0], PLACES[verdict.place])
    assert seen == words


@pytest.mark.soak
def test_the_found_mask_covers_the_object() -> None:
    pixels, mask = draw(scene("heart", "pink", "circle", "green hills"))
    found = judge().find(pixels)
    overlap = torch.minimum(found, mask).sum() / torch.maximum(found, mask).sum()
    assert overlap > 0.85
    assert (track_of(found)[:, :2] - track_of(mask)[:, :2]).abs().max() < 0.02


def test_an_empty_clip_has_no_object() -> None:
    grey = np.full((FRAMES, 192, 320, 3), 128, np.uint8)
    verdict = judge().judge(grey)
    assert (verdict.obj, verdict.motion) == (None, None)


def test_a_clip_run_backwards_moves_the_other_way() -> None:
    pixels, _ = draw(scene("ball", "blue", "right", "desert"))
    frames = to_frames(pixels)
    assert judge().judge(frames).motion == MOTIONS.index("right")
    assert judge().judge(frames[::-1]).motion == MOTIONS.index("left")


@pytest.mark.soak
def test_one_frame_held_does_not_move() -> None:
    pixels, _ = draw(scene("bird", "green", "left", "day sky"))
    held = to_frames(pixels)[8:9].repeat(FRAMES, 0)
    assert judge().judge(held).motion == MOTIONS.index("still")


@pytest.mark.soak
def test_size_of_the_clip_does_not_matter() -> None:
    pixels, _ = render(scene("star", "purple", "down", "snow"), 320, 192, torch.arange(FRAMES), FRAMES)
    verdict = judge().judge(to_frames(pixels[0].transpose(0, 1)))
    assert verdict.obj == OBJECTS.index("star")
    assert verdict.color == COLORS.index("purple")
    assert verdict.motion == MOTIONS.index("down")


# Rules -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("measures", "motion"),
    [
        (NOTHING, "still"),
        (replace(NOTHING, across=-0.5, width=0.5), "left"),
        (replace(NOTHING, across=0.5, width=0.5), "right"),
        (replace(NOTHING, down=-0.3, height=0.3), "up"),
        (replace(NOTHING, down=0.3, height=0.3), "down"),
        (replace(NOTHING, height=0.25, straightness=0.1), "bounce"),
        (replace(NOTHING, width=0.45, height=0.4, straightness=0.1, circled=2.3 * math.pi), "circle"),
        (replace(NOTHING, turned=2 * math.pi), "spin"),
        (replace(NOTHING, turned=-2 * math.pi), "spin"),
        (replace(NOTHING, resized=1.2), "grow"),
        (replace(NOTHING, resized=-1.2), "shrink"),
    ],
)
def test_measures_decide(measures: Measures, motion: str) -> None:
    assert MOTIONS[decide(measures)] == motion


@pytest.mark.parametrize("motion", first_only(MOTIONS))
def test_each_motion_is_measured_from_true_masks(motion: str) -> None:
    pixels, mask = draw(scene("boat", "orange", motion, "day sky", seed=4))
    assert motion_of(pixels, mask, track_of(mask)) == MOTIONS.index(motion)


@pytest.mark.parametrize("color", first_only(COLORS))
def test_colors_are_told_apart_in_light_and_shade(color: str) -> None:
    pixels, mask = draw(scene("fish", color, "still", "night sky"))
    assert color_of(pixels, mask) == COLORS.index(color)


def test_without_an_object_there_is_no_color() -> None:
    assert color_of(torch.zeros(2, 3, HEIGHT, WIDTH), torch.zeros(2, 1, HEIGHT // 2, WIDTH // 2)) is None


def test_track_of_a_disc() -> None:
    y, x = torch.meshgrid(torch.arange(48.0), torch.arange(80.0), indexing="ij")
    disc = ((x + 0.5 - 56) ** 2 + (y + 0.5 - 12) ** 2 < 10**2).float()[None, None]
    centre_x, centre_y, spread, area = track_of(disc)[0].tolist()
    assert centre_x == pytest.approx(16 / 48, abs=1e-3)
    assert centre_y == pytest.approx(-12 / 48, abs=1e-3)
    assert spread == pytest.approx(10 / 48 / math.sqrt(2), rel=0.02)
    assert area == pytest.approx(math.pi * (10 / 48) ** 2, rel=0.02)


def test_a_crop_is_centred_on_the_object() -> None:
    mask = torch.zeros(1, 1, 48, 80)
    mask[..., 10:20, 50:60] = 1
    cut = crop(F.interpolate(mask, scale_factor=2.0).expand(1, 3, -1, -1), mask, track_of(mask))
    assert track_of(cut[:, 3:])[0, :2].abs().max() < 0.02
    assert 0.15 < cut[:, 3].mean() < 0.5


# Training ----------------------------------------------------------------------------------------------------------


def test_augmented_frames_stay_pictures_with_their_masks() -> None:
    torch.manual_seed(0)
    pixels, mask = draw(scene("rocket", "red", "still", "snow"))
    for _ in range(8):
        changed, cover = augment(pixels[:4], mask[:4])
        assert changed.shape == pixels[:4].shape
        assert float(changed.min()) >= 0
        assert float(changed.max()) <= 1
        assert torch.equal(cover, mask[:4]) or torch.equal(cover, mask[:4].flip(-1))


@pytest.mark.soak
def test_training_writes_weights_that_the_judge_reads(tmp_path: Path) -> None:
    train(scenes=64, steps=4, target=tmp_path / "weights.safetensors", seed=1)
    verdict = Judge(tmp_path / "weights.safetensors").judge(np.zeros((3, 96, 160, 3), np.uint8))
    assert 0 <= verdict.place < len(PLACES)


def test_the_shipped_weights_are_tiny() -> None:
    assert WEIGHTS.stat().st_size < 1_000_000
