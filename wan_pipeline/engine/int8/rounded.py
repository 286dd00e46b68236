"""Rows of activations that are in int8 already, which a layer that multiplies in int8 takes as they are."""

from __future__ import annotations

from dataclasses import dataclass

import torch

LONGEST_ROW = 16384
"""Columns of a row that a triton kernel holds in registers."""


@dataclass(frozen=True)
class Rounded:
    """Rows of activations in int8."""

    values: torch.Tensor
    """(rows, columns), int8."""
    scales: torch.Tensor
    """(rows,), fp32: what each row is multiplied by."""
    dtype: torch.dtype
    """Of the rows before, and of what is computed from them."""
