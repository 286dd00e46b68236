"""Frames of whole numbers: repeatable, held at cuts and stills, and memory that runs out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.engine.interpolator.networks import TINY, moving_network, random_network
from wan_pipeline.engine.interpolator.frames import FrameInterpolator
from wan_pipeline.engine.interpolator.ifnet import IFNet
from wan_pipeline.engine.interpolator.likeness import LEAST, likeness
from wan_pipeline.engine.interpolator.network import Interpolator
from wan_pipeline.engine.network_files.levels import Levels, levels_of, values_of
from wan_pipeline.errors import GenerationError

CPU = torch.device("cpu")


def maker(network: IFNet) -> FrameInterpolator:
    return FrameInterpolator(Interpolator(network), CPU, "tiny")


def picture(seed: int, moved: int = 0) -> Levels:
    """Coarse shapes, moved to the right by so many pixels."""
    coarse = torch.rand((1, 3, 6, 12), generator=torch.Generator().manual_seed(seed))
    large = torch.nn.functional.interpolate(coarse, scale_factor=16, mode="bicubic").clamp(0, 1)
    return levels_of(large[:, :, :, 32 - moved : 160 - moved])


def test_levels_survive_the_way_there_and_back() -> None:
    levels = np.random.default_rng(1).integers(0, 65_536, (9, 7, 3), dtype=np.uint16)
    assert np.array_equal(levels_of(values_of(levels)), levels)


def test_the_same_frames_are_made_twice() -> None:
    before, after = picture(1), picture(1, 8)
    once, again = (maker(random_network()).between(before, after, 4) for _ in range(2))
    assert len(once) == 3 and all(frame.shape == before.shape and frame.dtype == np.uint16 for frame in once)
    assert all(np.array_equal(one, other) for one, other in zip(once, again, strict=True))
    assert not torch.are_deterministic_algorithms_enabled()


def test_moments_are_at_equal_distances() -> None:
    made = maker(moving_network((8, 0), TINY, 3)).between(picture(1), picture(1, 8), 4)
    for step, frame in enumerate(made, 1):
        inner = (slice(16, -16), slice(16, -16))
        assert np.abs(frame[inner].astype(int) - picture(1, 2 * step)[inner]).max() < 80  # of 65,535


def test_nothing_is_made_across_a_cut() -> None:
    network = maker(random_network())
    before, after = picture(1), picture(2)
    assert (
        likeness(values_of(before), values_of(after)) < LEAST < likeness(values_of(before), values_of(picture(1, 12)))
    )
    held = network.between(before, after, 4)
    assert all(frame is wanted for frame, wanted in zip(held, (before, before, after), strict=True))
    assert network.cuts == 1 and "Cuts found: 1." in network.warnings[0]


def test_a_still_stays_still() -> None:
    network, before = maker(random_network()), picture(1)
    assert all(np.array_equal(frame, before) for frame in network.between(before, before.copy(), 4))
    assert network.warnings == ()


def test_memory_that_runs_out_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def forward(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(IFNet, "forward", forward)
    with pytest.raises(GenerationError, match="not enough free memory to make frames of this size"):
        maker(random_network()).between(picture(1), picture(1, 8), 2)
