"""The curves of a training as the points of SVG lines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from wan_pipeline.jobs.training.job import Point

WIDTH, HEIGHT = 600.0, 160.0
"""Of the chart's own coordinates."""
SMOOTHING = 0.9
"""Share of the loss before in an exponential mean: about ten steps."""
OVERFIT = 1.05
"""Times the lowest validation loss, above which the last one is said to have risen."""


@dataclass(frozen=True)
class Curves:
    """Lines in the chart's coordinates, and the numbers beside them."""

    loss: str
    """Points of a polyline: every step."""
    smoothed: str
    validation: tuple[tuple[float, float], ...]
    """Points."""
    lowest: float
    highest: float
    last_step: int
    last_loss: float
    """Smoothed."""
    last_validation: float | None
    rate: float | None
    best_step: int | None
    """Of the lowest validation loss, where the last one is clearly above it."""


def curves(points: Sequence[Point], total: int) -> Curves | None:
    """None before the first step. `total` is the number of steps that the chart is wide."""
    losses = [(point.step, point.loss) for point in points if point.loss is not None]
    if not losses:
        return None
    smoothed = list(_smoothed(losses))
    validation = [(point.step, point.validation) for point in points if point.validation is not None]
    shown = [value for _, value in (*smoothed, *validation)]
    lowest, highest = min(shown), max(shown)
    spread = highest - lowest or 1.0
    steps = max(total, losses[-1][0], 1)

    def place(step: int, value: float) -> tuple[float, float]:
        height = HEIGHT * (1 - (value - lowest) / spread)
        return round(WIDTH * step / steps, 1), round(min(max(height, 0.0), HEIGHT), 1)

    return Curves(
        loss=_line(place(*each) for each in losses),
        smoothed=_line(place(*each) for each in smoothed),
        validation=tuple(place(*each) for each in validation),
        lowest=lowest,
        highest=highest,
        last_step=losses[-1][0],
        last_loss=smoothed[-1][1],
        last_validation=validation[-1][1] if validation else None,
        rate=next((point.rate for point in reversed(points) if point.rate is not None), None),
        best_step=_best(validation),
    )


def _smoothed(losses: Iterable[tuple[int, float]]) -> Iterable[tuple[int, float]]:
    """An exponential mean that begins at the first loss."""
    mean = None
    for step, loss in losses:
        mean = loss if mean is None else SMOOTHING * mean + (1 - SMOOTHING) * loss
        yield step, mean


def _best(validation: Sequence[tuple[int, float]]) -> int | None:
    if not validation:
        return None
    step, lowest = min(validation, key=lambda each: each[1])
    return step if validation[-1][1] > OVERFIT * lowest else None


def _line(points: Iterable[tuple[float, float]]) -> str:
    return " ".join(f"{x:g},{y:g}" for x, y in points)
