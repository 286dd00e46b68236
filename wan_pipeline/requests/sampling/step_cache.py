"""Step caches: what a clip may skip because it hardly changed since the step before, and how much of it.

Each is an implementation of diffusers 0.42.1; `engine/step_cache.py` makes its configuration. "How much" is one scale
from 0 to 1 for all of them; docs/caches.md says what was measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from math import ceil
from typing import TYPE_CHECKING

from wan_pipeline.errors import RequestError, UserError
from wan_pipeline.models.spec import Mode, ModelSpec

if TYPE_CHECKING:
    from wan_pipeline.requests.request import GenerationRequest

MAX_FIRST_BLOCK_CACHE = 0.5
"""The largest change of the first block's output, relative to its mean, below which the others may be skipped."""
FIRST_BLOCK_THRESHOLD = 0.14
"""That change at amount 1."""
MAGCACHE_THRESHOLD = 0.24
"""The most that its errors may add up to, at amount 1; the paper's default, 0.12, is at 0.5."""
MAGCACHE_FIRST_SHARE = 0.2
"""Steps at the beginning that are always computed, as in the paper."""
SEACACHE_THRESHOLD = 0.5
"""At amount 1; diffusers' default, 0.25, is at 0.5."""
SEACACHE_ALWAYS = 2
"""The first and the last step, as in diffusers."""
TAYLORSEER_FIRST_STEPS = 3
"""Steps at the beginning that are always computed, as in diffusers."""
MIN_CACHED_STEPS = 8
"""All caches compute the first steps in full: of fewer than these hardly one could be skipped."""


class CacheKind(StrEnum):
    OFF = "off"
    FIRST_BLOCK = "first-block"
    """Skips the other blocks while the first one's output changes little (ParaAttention's First Block Cache)."""
    MAGCACHE = "magcache"
    """Skips steps by the model's measured ratios of magnitudes (Ma et al. 2025, arXiv 2506.09045)."""
    SEACACHE = "seacache"
    """Skips steps while the filtered latents change little (arXiv 2602.18993)."""
    TAYLORSEER = "taylorseer"
    """Computes every few steps and extrapolates between them (Liu et al. 2025, arXiv 2503.06923)."""


TITLES = {
    CacheKind.OFF: "Off",
    CacheKind.FIRST_BLOCK: "First block",
    CacheKind.MAGCACHE: "MagCache",
    CacheKind.SEACACHE: "SeaCache",
    CacheKind.TAYLORSEER: "TaylorSeer",
}
AMOUNTS = {"light": 0.25, "medium": 0.5, "strong": 0.75}
"""Words for amounts."""
DEFAULT_AMOUNT = AMOUNTS["medium"]


@dataclass(frozen=True)
class StepCache:
    """A cache that is on, and how much it skips."""

    kind: CacheKind
    amount: float
    """More than 0, at most 1; above it only for thresholds that requests name themselves."""

    @property
    def in_a_row(self) -> int:
        """Steps that are skipped in a row at most; TaylorSeer computes each so many'th."""
        return 1 + round((2 if self.kind is CacheKind.SEACACHE else 4) * self.amount)

    def computed(self, steps: int, spec: ModelSpec) -> float:
        """About how many of a branch's passes, one a step, it leaves to compute.

        MagCache and TaylorSeer have a schedule. For the others, which look at the clip, these are formulas through
        what the demo model's clips of 40 steps had (benchmarks/results/caches.json).
        """
        match self.kind:
            case CacheKind.TAYLORSEER:  # of two experts each does about half of the steps, and begins anew
                return min(steps, spec.memory.experts * self._extrapolated(ceil(steps / spec.memory.experts)))
            case CacheKind.MAGCACHE if spec.mag_ratios:
                return self._by_ratios(steps, spec.mag_ratios)
            case CacheKind.SEACACHE:
                least = SEACACHE_ALWAYS + max(0, steps - SEACACHE_ALWAYS) // (self.in_a_row + 1)
                return min(steps, max(least, steps / (1 + 2 * self.amount)))
            case CacheKind.FIRST_BLOCK:
                return min(steps, max(1, steps / (1 + 2.8 * max(0.0, self.amount - 0.2))))
            case _:  # what is refused as well: MagCache without ratios
                return steps

    def _extrapolated(self, steps: int) -> int:
        """Steps that TaylorSeer computes of one transformer's: the first, the second after them, and every few then."""
        return min(steps, TAYLORSEER_FIRST_STEPS) + len(range(TAYLORSEER_FIRST_STEPS + 1, steps, self.in_a_row))

    def _by_ratios(self, steps: int, ratios: tuple[float, ...]) -> int:
        """Steps that MagCache computes: after each, others are skipped until their errors add up (Ma et al. 2025)."""
        first, computed = int(MAGCACHE_FIRST_SHARE * steps + 0.5), 0
        scale = (len(ratios) - 1) / max(1, steps - 1)
        ratio, error, skipped = 1.0, 0.0, 0
        for step in range(steps):
            if step >= first:
                ratio, skipped = ratio * ratios[round(step * scale)], skipped + 1
                error += abs(1 - ratio)
            if step >= first and error <= MAGCACHE_THRESHOLD * self.amount and skipped <= self.in_a_row:
                continue
            ratio, error, skipped, computed = 1.0, 0.0, 0, computed + 1
        return computed

    def __str__(self) -> str:
        """For people: `SeaCache, medium`, `First block, 0.4`."""
        word = next((name for name, value in AMOUNTS.items() if value == self.amount), f"{self.amount:.2g}")
        return f"{TITLES[self.kind]}, {word}"


def first_block_threshold(amount: float) -> float:
    """What the first block's output may change at this amount."""
    return FIRST_BLOCK_THRESHOLD * amount


def amount_of_threshold(threshold: float) -> float:
    """The inverse of `first_block_threshold`, for requests that name the threshold itself."""
    return threshold / FIRST_BLOCK_THRESHOLD


def parse_kind(text: str) -> str:
    """The value of `--cache`; `none` is off as well. Raises UserError."""
    name = text.strip().casefold().replace("_", "-")
    name = CacheKind.OFF.value if name == "none" else name
    if name not in set(CacheKind):
        raise UserError(f"Cache '{text[:40]}' is not known; use one of: {', '.join(CacheKind)}.")
    return name


def parse_amount(text: str) -> float:
    """The value of `--cache-amount`: a word, or a number from 0 to 1. Raises UserError."""
    word = text.strip().casefold()
    if word in AMOUNTS:
        return AMOUNTS[word]
    try:
        return 0.0 if word == CacheKind.OFF else float(word.replace(",", "."))
    except ValueError:
        words = ", ".join(AMOUNTS)
        raise UserError(f"Cache amount '{text[:40]}' is not known; use {words}, or a number from 0 to 1.") from None


def check_step_cache(request: GenerationRequest, spec: ModelSpec) -> None:
    """Refuse what the model cannot do and what would skip nothing without a word. Raises RequestError."""
    if request.cache is not CacheKind.OFF and request.first_block_cache:
        raise RequestError("cache", "There are a cache and a first-block cache threshold; leave one of them out.")
    cache = request.step_cache
    if cache is None:
        return
    field = "first_block_cache" if request.first_block_cache else "cache"
    if reason := _refusal(cache.kind, request, spec):
        raise RequestError(field, f"{reason}.")


def offered_caches(spec: ModelSpec, mode: Mode) -> tuple[CacheKind, ...]:
    """The caches that work with the model in this mode."""
    return tuple(kind for kind in CacheKind if kind is CacheKind.OFF or not _unfit(kind, mode, spec))


def _refusal(kind: CacheKind, request: GenerationRequest, spec: ModelSpec) -> str:
    """Why this clip cannot have the cache, and what to do; empty if it can."""
    if reason := _unfit(kind, request.mode, spec):
        return reason
    if kind is CacheKind.MAGCACHE and request.guidance_interval:
        return "MagCache counts on guidance in every step; leave the guidance interval out or choose another cache"
    if not request.first_block_cache and request.num_inference_steps < MIN_CACHED_STEPS:
        return (
            f"A step cache has nothing to skip in {request.num_inference_steps} steps; "
            f"set it to off, or use {MIN_CACHED_STEPS} steps or more"
        )
    return ""


def _unfit(kind: CacheKind, mode: Mode, spec: ModelSpec) -> str:
    if spec.takes_control:  # its control blocks' hints would be added twice
        return f"{spec.title} does not support step caches; leave the cache off"
    if kind is CacheKind.SEACACHE and mode is not Mode.TEXT_TO_VIDEO:
        return "SeaCache skips nothing from images to video; choose another cache"
    if kind is CacheKind.MAGCACHE and not spec.mag_ratios:
        return f"MagCache needs ratios that were not measured for {spec.title}; choose another cache"
    return ""
