"""Measures SageAttention against the fastest exact backend: how much quicker, and how far off."""

from __future__ import annotations

import math
from contextlib import nullcontext

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from wan_pipeline.engine.attention.sage import sage_attention, sage_version
from wan_pipeline.engine.device.timing import measured_or, seconds_of
from wan_pipeline.planning.attention import SageSpeed

SIZES = ((128, 2040), (128, 8190), (128, 32760), (64, 2040), (64, 8190))
"""Head sizes and tokens: below and above what the fixed cost of rounding is worth, up to 81 frames at 832x480.

No multiples of 64: version 1 counts keys beyond the last one there.
"""
HEADS = 8
CALLS = 4


def measure_sage(device: torch.device, exact: SDPBackend | None) -> tuple[SageSpeed, ...]:
    """SageAttention at some sizes, against the backend `exact`; None: torch's own choice. Empty if it is not usable."""
    if device.type != "cuda" or sage_version() is None:
        return ()
    return measured_or((), "SageAttention", lambda: _at_all_sizes(device, exact))


def _at_all_sizes(device: torch.device, exact: SDPBackend | None) -> tuple[SageSpeed, ...]:
    """Without sizes at which it gives no finite numbers, which could not be stored either."""
    found = [_measured(device, exact, head_size, tokens) for head_size, tokens in SIZES]
    return tuple(entry for entry in found if math.isfinite(entry.error))


def _measured(device: torch.device, exact: SDPBackend | None, head_size: int, tokens: int) -> SageSpeed:
    """On random numbers, whose error is larger than that of a model's activations."""
    shape = (1, tokens, HEADS, head_size)
    query, key, value = (torch.randn(shape, device=device, dtype=torch.bfloat16) for _ in range(3))

    def exactly() -> torch.Tensor:
        with sdpa_kernel(exact) if exact else nullcontext():
            by_head = [tensor.transpose(1, 2) for tensor in (query, key, value)]
            return scaled_dot_product_attention(by_head[0], by_head[1], by_head[2]).transpose(1, 2)

    wanted, made = exactly().float(), sage_attention(query, key, value).float()
    error = float((made - wanted).norm() / wanted.norm())
    speedup = seconds_of(exactly, CALLS) / seconds_of(lambda: sage_attention(query, key, value), CALLS)
    return SageSpeed(head_size, tokens, round(speedup, 3), round(error, 4))
