"""How a video's tokens are divided into windows of attention: as many as a clip of 720p has, whatever its shape."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise, product, starmap
from math import ceil, sqrt

Size = tuple[int, int, int]
"""Tokens along time, height and width."""
Window = tuple[slice, slice, slice]

COUNTS = (4, 3, 3)
"""Windows along time, height and width of what the model was trained on."""
FRAME = 45 * 80
"""Tokens of a 720p frame."""
LONGEST = 30
"""Latent frames that windows divide at most; longer clips have more windows."""


def windows_of(size: Size, *, shifted: bool) -> list[Window]:
    """All windows of a video; together they hold each token once. Shifted ones begin half a window earlier."""
    steps = _window_size(size)
    edges = [_edges(length, step, shifted) for length, step in zip(size, steps, strict=True)]
    spans = [list(starmap(slice, pairwise(edge))) for edge in edges]
    return list(product(spans[0], spans[1], spans[2]))


def by_shape(windows: list[Window]) -> dict[Size, list[Window]]:
    """Windows of one shape together: those can be computed in one batch."""
    groups: dict[Size, list[Window]] = defaultdict(list)
    for time, rows, columns in windows:
        shape = (time.stop - time.start, rows.stop - rows.start, columns.stop - columns.start)
        groups[shape].append((time, rows, columns))
    return dict(groups)


def _window_size(size: Size) -> Size:
    """That of the windows inside, as for a clip of the same proportions with the tokens of 720p."""
    time, height, width = size
    scale = sqrt(FRAME / (height * width))
    lengths = (min(time, LONGEST), round(height * scale), round(width * scale))
    steps = (ceil(length / count) for length, count in zip(lengths, COUNTS, strict=True))
    return (max(next(steps), 1), max(next(steps), 1), max(next(steps), 1))


def _edges(length: int, step: int, shifted: bool) -> list[int]:
    first = step // 2 if shifted and step < length else 0
    return [0, *range(first or step, length, step), length]
