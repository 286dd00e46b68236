"""The one model that is recommended for this machine, and why."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from wan_pipeline.jobs.estimates.estimator import Estimate
from wan_pipeline.models import registry
from wan_pipeline.models.precision import Precision
from wan_pipeline.models.spec import Mode, ModelSpec
from wan_pipeline.planning.transformer import transformer_bytes
from wan_pipeline.ui.models.card import Card
from wan_pipeline.wording import duration

MOST_SECONDS = 600.0
"""The longest that a model may take for a clip at its own settings: one that a person waits for."""


@dataclass(frozen=True)
class Recommendation:
    model_id: str
    reason: str
    """One sentence."""


def recommend(cards: Iterable[Card]) -> Recommendation | None:
    """The largest model for text to video that fits and makes its own clip within MOST_SECONDS; else the bundled one.

    Models that the user added are not judged, nor are those that need a control video. None while nothing is known of
    the machine.
    """
    known = {card.spec: card.estimate for card in cards if _is_general(card.spec) and card.estimate}
    if not known:
        return None
    quick = [spec for spec, found in known.items() if found.fits and found.seconds <= MOST_SECONDS]
    best = max(quick, key=_size, default=registry.find(registry.DEFAULT_MODEL))
    if best.id != registry.DEFAULT_MODEL:
        return Recommendation(best.id, _why_largest(best, known[best]))
    others = {spec: found for spec, found in known.items() if spec != best}
    return Recommendation(best.id, _why_bundled(others)) if others else None


def _is_general(spec: ModelSpec) -> bool:
    return spec.id in registry.MODELS and Mode.TEXT_TO_VIDEO in spec.modes and not spec.takes_control


def _size(spec: ModelSpec) -> float:
    """Bytes of all its transformers in 16 bits."""
    return transformer_bytes(spec.memory, Precision.BF16)


def _why_largest(spec: ModelSpec, found: Estimate) -> str:
    size = spec.sizes[0]
    return (
        f"It is the largest model that makes a clip within {duration(MOST_SECONDS)} here: about "
        f"{duration(found.seconds)} for {size.width} x {size.height} pixels."
    )


def _why_bundled(others: dict[ModelSpec, Estimate]) -> str:
    """Why none of the others is recommended."""
    fitting = {spec: found.seconds for spec, found in others.items() if found.fits}
    if not fitting:
        return "It is the only one that fits into this machine's memory."
    quickest = min(fitting, key=lambda spec: fitting[spec])
    return (
        f"It is the only one that makes a clip within {duration(MOST_SECONDS)} here; {quickest.title} would take about "
        f"{duration(fitting[quickest])}."
    )
