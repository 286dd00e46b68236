"""Measures the kernels of pointwise operations against plain torch: how much quicker, and whether they are right."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch.nn.functional import gelu, layer_norm, rms_norm

from wan_pipeline.engine.attention.rotary import Rotary, turned
from wan_pipeline.engine.device.timing import measured_or, seconds_of
from wan_pipeline.engine.fused.pointwise import add_rows, gelu_rows, has_kernels, norm_rows, rms_rows, round_rows
from wan_pipeline.engine.int8.rounded import Rounded

TOKENS, HEADS, WIDTH = 8192, 32, 128
CALLS = 4
LARGEST_ERROR, LARGEST_INT8_ERROR = 0.01, 0.05
"""Relative, by norm: some steps of bf16; and of int8 on random numbers, whose largest lie far out."""


def measure_fused(device: torch.device) -> float:
    """Seconds of a block's pointwise operations by plain torch over those of the kernels; 0 where these do not work."""
    if not has_kernels(device):
        return 0.0
    return measured_or(0.0, "Fusing pointwise operations", lambda: _Operations(device).speedup())


def _values(rows: torch.Tensor | Rounded) -> torch.Tensor:
    return rows.values * rows.scales[:, None] if isinstance(rows, Rounded) else rows.float()


def _are_near(pairs: Iterable[tuple[torch.Tensor, torch.Tensor]], bound: float) -> bool:
    return all((made.float() - wanted).norm() <= bound * wanted.norm() for made, wanted in pairs)


class _Operations:
    """Every kernel once, over rows in bf16."""

    def __init__(self, device: torch.device, tokens: int = TOKENS) -> None:
        width = HEADS * WIDTH
        self._rows = torch.randn(tokens, width, device=device, dtype=torch.bfloat16)
        self._table = torch.randn(1, width, device=device)
        self._index = torch.zeros(tokens, device=device, dtype=torch.int32)
        self._norm = torch.nn.RMSNorm(width, eps=1e-6, device=device, dtype=torch.bfloat16).requires_grad_(False)
        angles = torch.randn(1, tokens, 1, WIDTH // 2, device=device).repeat_interleave(2, -1)
        self._rotary: Rotary = (angles.cos(), angles.sin())

    def are_right(self) -> bool:
        """In 16 bits, in int8, and with timesteps of each token, as TI2V has them."""
        in_16_bits = zip(self.fused(), self.plain(), strict=True)
        return _are_near(in_16_bits, LARGEST_ERROR) and _are_near(self._rounded(), LARGEST_INT8_ERROR)

    def speedup(self) -> float:
        if not self.are_right():
            return 0.0
        return round(seconds_of(self.plain, CALLS) / seconds_of(self.fused, CALLS), 3)

    def fused(self) -> list[Any]:
        normed = norm_rows(self._rows, self._table, self._table, self._index, 1e-6, rounds=False)
        turned_rows, added = self._rows.clone(), self._rows.clone()
        rms_rows(turned_rows, self._norm, self._rotary, HEADS)
        activated = gelu_rows(self._rows, rounds=False)
        add_rows(added, self._rows, self._table, self._index)
        return [normed, turned_rows, activated, added]

    def _rounded(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """What is made in int8, and what it is of."""
        tables, index = torch.cat([self._table, -self._table]), self._index.clone()
        index[::2] = 1
        normed = [norm_rows(self._rows, tables, tables, index, 1e-6, rounds=rounds) for rounds in (True, False)]
        activated = [gelu_rows(self._rows, rounds=rounds) for rounds in (True, False)]
        pairs = (normed, activated, (round_rows(self._rows), self._rows))
        by_rows = torch.where(index[:, None] > 0, -1, 1) * self.plain()[0]
        return [*((_values(made), _values(wanted)) for made, wanted in pairs), (_values(normed[1]), by_rows)]

    def plain(self) -> list[torch.Tensor]:
        rows, table, size = self._rows.float(), self._table, self._rows.shape[1:]
        normed = torch.addcmul(table, layer_norm(rows, size, eps=1e-6), table)
        both = (part[..., ::2] for part in self._rotary)
        turned_rows = turned(rms_norm(rows, size, self._norm.weight.float(), 1e-6)[None], HEADS, *both)[0]
        return [normed, turned_rows, gelu(rows, approximate="tanh"), torch.addcmul(rows, rows, table)]
