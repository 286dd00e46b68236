"""Tiles of a frame that fade into each other: the VAE takes the memory of one, whatever the frame's size."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

SIZE = 64
"""Latents along each side of a tile at most: 512 pixels."""
OVERLAP = 8
"""Latents that neighbours share at least, along which one fades into the other."""


@dataclass(frozen=True)
class Tile:
    """Where a tile lies, in latents."""

    rows: slice
    columns: slice
    row_weights: torch.Tensor
    column_weights: torch.Tensor

    def scaled(self, factor: int) -> tuple[slice, slice]:
        """Where it lies in pixels, of which a latent has `factor` along each side."""
        return _scaled(self.rows, factor), _scaled(self.columns, factor)

    @property
    def weights(self) -> torch.Tensor:
        """(rows, columns): those of all tiles sum to one at each place."""
        return self.row_weights[:, None] * self.column_weights


def tiles_of(height: int, width: int, factor: int = 1, size: int = SIZE, overlap: int = OVERLAP) -> Iterator[Tile]:
    """All tiles of so many latents, of equal size, with weights for `factor` pixels a latent."""
    across = list(_spans(width, factor, size, overlap))
    for rows, row_weights in _spans(height, factor, size, overlap):
        for columns, column_weights in across:
            yield Tile(rows, columns, row_weights, column_weights)


def count_tiles(height: int, width: int) -> int:
    """How many there are."""
    return len(_starts(height, SIZE, OVERLAP)) * len(_starts(width, SIZE, OVERLAP))


def _starts(length: int, size: int, overlap: int) -> list[int]:
    """Evenly distributed first latents."""
    count = max(1, -(-(length - overlap) // (size - overlap)))
    rest = max(length - size, 0)
    return [round(rest * number / max(count - 1, 1)) for number in range(count)]


def _spans(length: int, factor: int, size: int, overlap: int) -> Iterator[tuple[slice, torch.Tensor]]:
    size = min(size, length)
    starts = _starts(length, size, overlap) if size < length else [0]
    rise = torch.arange(1, size * factor + 1).clamp(max=overlap * factor).double()
    first, last = starts[0], starts[-1]
    even = torch.ones(size * factor, dtype=torch.float64)
    weights = [(rise if start != first else even) * (rise.flip(0) if start != last else even) for start in starts]
    total = torch.zeros(length * factor, dtype=torch.float64)
    for start, weight in zip(starts, weights, strict=True):
        total[start * factor : (start + size) * factor] += weight
    for start, weight in zip(starts, weights, strict=True):
        span = slice(start, start + size)
        yield span, (weight / total[_scaled(span, factor)]).float()


def _scaled(span: slice, factor: int) -> slice:
    return slice(span.start * factor, span.stop * factor)
