"""Drafts that end their denoising early: once the clean clip that the steps head for hardly changes any more.

"How little" is one scale from 0 to 1, as of step caches; docs/caches.md says what was measured.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wan_pipeline.errors import RequestError, UserError
from wan_pipeline.requests.sampling.step_cache import AMOUNTS

if TYPE_CHECKING:
    from wan_pipeline.requests.request import GenerationRequest

OFF = "off"
MAX_CHANGE = 0.16
"""Change of the clean clip in one step, as a share of its norm, below which it ends at amount 1."""
ALWAYS = 0.5
"""Share of the steps that are always done."""
MIN_STEPS = 8
"""Of fewer steps each changes too much."""


def largest_change(amount: float) -> float:
    """Change of the clean clip in a step below which a clip ends."""
    return MAX_CHANGE * amount


def parse_early_end(text: str) -> float:
    """The value of `--early-end`: a word, or a number from 0 to 1. Raises UserError."""
    word = text.strip().casefold()
    if word in AMOUNTS:
        return AMOUNTS[word]
    try:
        return 0.0 if word in (OFF, "none") else float(word.replace(",", "."))
    except ValueError:
        words = ", ".join((OFF, *AMOUNTS))
        raise UserError(f"Early end '{text[:40]}' is not known; use {words}, or a number from 0 to 1.") from None


def early_end_text(amount: float) -> str:
    """For people, and read by `parse_early_end`: `medium`, `0.4`, `off`."""
    if not amount:
        return OFF
    return next((name for name, value in AMOUNTS.items() if value == amount), f"{amount:.4g}")


def check_early_end(request: GenerationRequest) -> None:
    """Refuse what would end nothing, or at the wrong step. Raises RequestError."""
    if not request.early_end:
        return
    if request.step_cache:
        raise RequestError(
            "early_end", "A clip with a step cache cannot end early: skipped steps look settled; leave one of them off."
        )
    if request.num_inference_steps < MIN_STEPS:
        raise RequestError(
            "early_end",
            f"A clip of {request.num_inference_steps} steps cannot end early; set it to off, or use {MIN_STEPS} steps "
            "or more.",
        )
