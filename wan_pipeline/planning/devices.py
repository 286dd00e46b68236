"""How many devices share one clip."""

from __future__ import annotations

from dataclasses import dataclass

SPLIT_SPEEDUP = 1.87
"""How much quicker a pass is whose tokens two H100s share, at 832x480x81: 1.92 times at 1280x720x81, 1.74 times at
7,800 tokens (benchmarks/gpu_branches.py)."""
SPLIT_FROM = 7_800
"""Tokens from which on tokens are shared: with fewer it was not measured."""


@dataclass(frozen=True)
class Devices:
    """Devices that shared one clip, or are to."""

    branches: int = 1
    """That share the two passes of a guided step."""
    split: int = 1
    """That share the tokens of each pass."""

    @property
    def is_one(self) -> bool:
        return self == ONE_DEVICE


ONE_DEVICE = Devices()
