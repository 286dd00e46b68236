"""What validation losses say of a training. Each is given with its step; step 0 is the base model."""

from __future__ import annotations

from collections.abc import Sequence

OVERFITTED = 1.02
"""A last validation loss of this times the lowest says that training went on for too long. The noise is always the
same, so that smaller differences count for something too, but not for this much."""


def best_step(validation: Sequence[tuple[int, float]]) -> int | None:
    """The step with the lowest validation loss; None if there was no validation."""
    return min(validation, key=lambda one: one[1])[0] if validation else None


def overfitted_after(validation: Sequence[tuple[int, float]]) -> int | None:
    """The step with the lowest loss, if the last loss is clearly above it, or if the base model is best of all.

    None where the last step is as good as any.
    """
    best = best_step(validation)
    if best is None or len(validation) < 2:
        return None
    losses = dict(validation)
    is_worse = best == 0 or losses[validation[-1][0]] > losses[best] * OVERFITTED
    return best if is_worse else None


def advice(validation: Sequence[tuple[int, float]], name: str) -> str:
    """Which checkpoint to take, or what to change. Empty where the last one is as good as any."""
    best = overfitted_after(validation)
    if best is None:
        return ""
    losses = dict(validation)
    last = losses[validation[-1][0]]
    if best == 0:
        return (
            f"On the pictures that were held out the base model is better than every checkpoint (validation loss "
            f"{losses[0]:.4f}, at the end {last:.4f}): train with a lower --learning-rate, or on more pictures."
        )
    return (
        f"The validation loss was lowest after step {best} ({losses[best]:.4f}, at the end {last:.4f}): later "
        f"steps may have memorised the pictures. Compare with step {best}: trainings use {name} {best}."
    )
