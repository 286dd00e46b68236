"""Rotary position embedding of normalised queries and keys."""

from __future__ import annotations

from typing import Any

import torch

Rotary = tuple[torch.Tensor, torch.Tensor]
"""Cosines and sines, (1, tokens, 1, channels of a head), each twice in a row, as diffusers makes them."""


def normed_rotary(norm: Any, rows: torch.Tensor, heads: int, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rows of a query or key, normalised and turned; `cos` and `sin` hold each number once."""
    return turned(norm(rows), heads, cos, sin)


def turned(rows: torch.Tensor, heads: int, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rows (batch, tokens, width), turned; `cos` and `sin` hold each number once."""
    even, odd = rows.view(*rows.shape[:2], heads, -1, 2).unbind(-1)
    rotated = torch.stack((torch.addcmul(even * cos, odd, sin, value=-1), torch.addcmul(even * sin, odd, cos)), dim=-1)
    return rotated.flatten(2)
