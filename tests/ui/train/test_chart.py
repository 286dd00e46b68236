"""Curves as points."""

from __future__ import annotations

from wan_pipeline.jobs.training.job import Point
from wan_pipeline.ui.train.chart import HEIGHT, WIDTH, curves


def test_nothing_before_the_first_step() -> None:
    assert curves([], 10) is None
    assert curves([Point(0, None, None, 0.5)], 10) is None


def test_it_falls_from_the_top_to_the_right() -> None:
    points = [Point(step, 2.0 - step / 50, 1e-3 * step, None) for step in range(1, 51)]
    found = curves(points, 100)
    assert found is not None
    smoothed = [tuple(map(float, each.split(","))) for each in found.smoothed.split()]
    assert smoothed[0] == (WIDTH / 100, 0) and smoothed[-1] == (WIDTH / 2, HEIGHT)
    assert [y for _, y in smoothed] == sorted(y for _, y in smoothed)
    assert (found.last_step, found.rate, found.best_step, found.last_validation) == (50, 0.05, None, None)


def test_a_flat_line_and_a_spike_stay_inside() -> None:
    flat = curves([Point(step, 1.0, None, None) for step in (1, 2)], 0)
    assert flat is not None and flat.last_step == 2
    spiked = curves([Point(1, 1.0, None, 1.0), Point(2, 1e9, None, 2.0), Point(3, 1.0, None, 2.0)], 3)
    assert spiked is not None and spiked.best_step == 1
    heights = [float(each.split(",")[1]) for each in spiked.loss.split()]
    assert all(0 <= height <= HEIGHT for height in heights)


def test_what_the_validation_says_is_what_the_command_says() -> None:
    """Two percent above the lowest is overfitted; a base model that is best is step 0."""

    def advice(*losses: float) -> str:
        points = [Point(step, 1.0 if step else None, None, loss) for step, loss in enumerate(losses)]
        found = curves(points, len(points))
        return found.advice if found else "nothing"

    assert advice(1.0, 0.8, 0.81) == ""
    assert "lowest at step 1" in advice(1.0, 0.8, 0.83)
    assert "the base model is better" in advice(1.0, 1.1, 1.2)
