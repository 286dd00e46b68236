"""How many devices share one clip."""

from __future__ import annotations

from dataclasses import dataclass

SPLIT_SPEEDUP = 1.8
"""How much quicker a pass is whose tokens two devices share."""
SPLIT_FROM = 16_384
"""Tokens from which on that is so: shorter passes are over before their exchanges pay."""


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
