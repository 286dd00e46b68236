"""Which backend computes attention. No torch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from wan_pipeline.errors import UserError

MAX_ERROR = 0.04
"""An approximate backend is chosen only if its output differs from exact attention by less than this share."""
MIN_SPEEDUP = 1.05
"""It must also be this much faster."""


class Attention(StrEnum):
    """How self-attention computes."""

    FASTEST = ""
    """By the fastest exact backend, which is measured once for a device."""
    NATIVE = "native"
    """By what torch itself chooses."""
    CUDNN = "cudnn"
    SAGE = "sage"
    """By SageAttention: scores in int8, so faster and less exact. It has to be installed."""


AUTO = "auto"
"""Setting: SageAttention where it is installed, measured quicker and near enough; else the fastest exact backend."""


@dataclass(frozen=True)
class SageSpeed:
    """SageAttention on one device, at one size."""

    head_size: int
    tokens: int
    speedup: float
    """Seconds of the fastest exact backend over its seconds."""
    error: float
    """Relative error of its output, by norm."""


def sage_speedup(measured: Iterable[SageSpeed], head_size: int, tokens: int) -> float:
    """How much quicker SageAttention is with so many tokens; 1 where it is not, errs too much or was not measured.

    Counted is the largest measured size of at most so many tokens.
    """
    fitting = [entry for entry in measured if entry.head_size == head_size and entry.tokens <= tokens]
    if not fitting:
        return 1.0
    nearest = max(fitting, key=lambda entry: entry.tokens)
    is_usable = nearest.error <= MAX_ERROR and nearest.speedup >= MIN_SPEEDUP
    return nearest.speedup if is_usable else 1.0


def parse_attention(text: str) -> str:
    """The value of `--attention`, checked. Raises UserError."""
    choices = [AUTO, *(kind.value for kind in Attention if kind)]
    if text not in choices:
        raise UserError(f"'{text[:40]}' is no way to compute attention; use {', '.join(choices)}.")
    return text
