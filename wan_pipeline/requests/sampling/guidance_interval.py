"""Guidance in a range of noise levels only: Kynkäänniemi et al. 2024, arXiv 2404.07724.

Outside of the interval a step has one pass of the transformer instead of two. Guidance matters least where the latents
are nearly clean, and at the highest noise levels it costs variety.
"""

from __future__ import annotations

from wan_pipeline.errors import UserError

WHOLE = (0.0, 1.0)
"""Lowest and highest noise level with guidance: 1 is pure noise, 0 the clean clip."""


def noise_level(step: int, steps: int, flow_shift: float) -> float:
    """The noise level that a step, counted from 0, starts from: the shifted line of flow matching models.

    Solvers round it to the timesteps that the model was trained on, so theirs differ in the third digit.
    """
    share = 1 - step / steps
    return flow_shift * share / (1 + (flow_shift - 1) * share)


def guided_steps(steps: int, flow_shift: float, interval: tuple[float, float] | None) -> frozenset[int]:
    """The steps, counted from 0, that start within the interval."""
    low, high = interval or WHOLE
    return frozenset(step for step in range(steps) if low <= noise_level(step, steps, flow_shift) <= high)


def parse_interval(text: str) -> tuple[float, float]:
    """LOW:HIGH, such as 0.2:0.9. Raises UserError."""
    low, colon, high = text.partition(":")
    try:
        interval = float(low), float(high)
    except ValueError:
        interval = WHOLE[::-1]
    if not colon or not 0 <= interval[0] < interval[1] <= 1:
        raise UserError(
            f"'{text[:40]}' is no guidance interval; write the lowest and the highest noise level, from 0 to 1, "
            "such as 0.2:0.9."
        )
    return interval


def interval_text(interval: tuple[float, float]) -> str:
    """What `parse_interval` reads."""
    return f"{interval[0]:g}:{interval[1]:g}"
