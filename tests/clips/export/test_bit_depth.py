"""Levels: 16 bits hold more than 8, and round to them exactly."""

from __future__ import annotations

import numpy as np
import torch

from wan_pipeline.clips.export.bit_depth import eight_bits, rounded, sixteen_bits, widened
from wan_pipeline.engine.decoding.decode import _pixels


def test_8_bits_are_the_decoders_own() -> None:
    values = torch.rand(3, 4, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    values.view(-1)[:512] = (torch.arange(512) - 0.5).div(255).clamp(-1, 1)  # the middles between levels
    frames = values.permute(1, 2, 3, 0).contiguous().numpy()
    assert (eight_bits(frames) == _pixels(values.clone())).all()


def test_16_bits_round_to_8_bit_for_bit() -> None:
    near_middles = ((np.arange(-2, 513)[:, None] + np.linspace(-1e-2, 1e-2, 201)) / 255 - 1).clip(-1, 1)
    frames = np.concatenate([near_middles.ravel(), np.linspace(-1, 1, 2**20)]).astype(np.float32)
    levels = sixteen_bits(frames)
    assert (rounded(levels) == eight_bits(frames)).all()
    assert abs(levels / 65_535 * 2 - 1 - frames).max() <= 1.01 / 32_767.5
    assert levels.min() == 0 and levels.max() == 65_535


def test_a_gradient_holds_more_than_1500_levels() -> None:
    gradient = np.linspace(-1, 1, 1920, dtype=np.float32)
    assert len(np.unique(sixteen_bits(gradient))) > 1500
    assert len(np.unique(eight_bits(gradient))) == 256


def test_widened_levels_round_back() -> None:
    levels = np.arange(256, dtype=np.uint8)
    assert (rounded(widened(levels)) == levels).all()
    assert widened(levels)[-1] == 65_535
