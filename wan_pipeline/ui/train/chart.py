"""The curves of a training as the points of SVG lines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from wan_pipeline.jobs.training.job import Point
from wan_pipeline.trainer.validation import overfitted_after

WIDTH, HEIGHT = 600.0, 160.0
"""Of the chart's own coordinates."""
SMOOTHING = 0.9
"""Share of the loss before in an exponential mean: about ten steps."""


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
    """Where the last step is not as good as any: the best one; 0 is the base model."""

    @property
    def advice(self) -> str:
        """What to do where the last step is not as good as any, one sentence; else empty."""
        if self.best_step is None:
            return ""
        if self.best_step == 0:
            return (
                "On the held-out pictures the base model is better than every checkpoint: train with a lower learning "
                "rate, or on more pictures."
            )
        return f"The validation loss was lowest at step {self.best_step} and has risen since: compare that checkpoint."


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
        best_step=overfitted_after(validation),
    )


def _smoothed(losses: Iterable[tuple[int, float]]) -> Iterable[tuple[int, float]]:
    """An exponential mean that begins at the first loss."""
    mean = None
    for step, loss in losses:
        mean = loss if mean is None else SMOOTHING * mean + (1 - SMOOTHING) * loss
        yield step, mean


def _line(points: Iterable[tuple[float, float]]) -> str:
    return " ".join(f"{x:g},{y:g}" for x, y in points)
