"""Floating-point numbers of a file's tensors, as numpy arrays. No torch."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

FP8 = frozenset({"F8_E4M3", "F8_E5M2"})
FLOATS = frozenset({"F16", "BF16", "F32"})


def decode(data: bytes, dtype: str) -> Floats:
    """The numbers of a tensor, by its dtype as safetensors calls it."""
    match dtype:
        case "F8_E4M3":
            return _e4m3()[np.frombuffer(data, np.uint8)]
        case "F8_E5M2":  # the upper half of an F16
            return (np.frombuffer(data, np.uint8).astype("<u2") << 8).view("<f2").astype(np.float32)
        case "BF16":  # the upper half of an F32
            return (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4")
        case "F16":
            return np.frombuffer(data, "<f2").astype(np.float32)
        case "F32":
            return np.frombuffer(data, "<f4")
    raise ValueError(dtype)


def bf16_bytes(values: Floats) -> bytes:
    """The numbers in BF16, rounded to the nearest, and to the even one of two."""
    bits = np.ascontiguousarray(values, "<f4").view("<u4")
    rounded = (bits + ((bits >> 16) & 1) + 0x7FFF) >> 16
    return np.where(np.isnan(values), 0x7FC0, rounded).astype("<u2").tobytes()


@cache
def _e4m3() -> Floats:
    """The value of each byte in F8_E4M3: a sign, 4 bits of exponent with bias 7, 3 of mantissa; no infinities."""
    codes = np.arange(128)
    exponent, mantissa = codes >> 3, (codes & 7) / 8
    values = np.where(exponent == 0, mantissa * 2.0**-6, (1 + mantissa) * 2.0 ** (exponent - 7))
    values[127] = np.nan
    return np.concatenate([values, -values]).astype(np.float32)
