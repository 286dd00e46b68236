"""Step caches of diffusers on a transformer, for one clip.

A cache skips the `forward` of blocks. TaylorSeer is set up to predict the model's last projection instead of every
attention, which is its default and matches no module of Wan's: that takes a hundredth of the memory, and skips whole
passes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import FirstBlockCacheConfig, MagCacheConfig, SeaCacheConfig, TaylorSeerCacheConfig

from wan_pipeline.clips.provenance import Passes
from wan_pipeline.engine.memory.forwards import restoring_forwards
from wan_pipeline.engine.memory.inner_tensors import blocks_of
from wan_pipeline.models.spec import ModelSpec
from wan_pipeline.requests.request import GenerationRequest
from wan_pipeline.requests.sampling.step_cache import (
    MAGCACHE_FIRST_SHARE,
    MAGCACHE_THRESHOLD,
    SEACACHE_THRESHOLD,
    TAYLORSEER_FIRST_STEPS,
    TITLES,
    CacheKind,
    StepCache,
    first_block_threshold,
)

KEPT_INPUTS = {CacheKind.FIRST_BLOCK: 2, CacheKind.MAGCACHE: 1, CacheKind.SEACACHE: 1, CacheKind.TAYLORSEER: 0}
"""Each cache subtracts the inputs of so many first blocks from later outputs: they must not be written over."""


@dataclass(frozen=True)
class Caching:
    """A step cache for the clip of a model."""

    cache: StepCache
    steps: int
    """Denoising steps of the clip."""
    mag_ratios: tuple[float, ...] = ()

    @classmethod
    def of(cls, request: GenerationRequest, spec: ModelSpec) -> Caching | None:
        """None for a clip without a cache."""
        cache = request.step_cache
        return cls(cache, request.num_inference_steps, spec.mag_ratios) if cache else None

    @property
    def kept_inputs(self) -> int:
        return KEPT_INPUTS[self.cache.kind]

    @property
    def predicts_output(self) -> bool:
        """Whether it counts the calls of the last projection."""
        return self.cache.kind is CacheKind.TAYLORSEER

    @property
    def config(self) -> Any:
        """The configuration of diffusers. Larger amounts have a higher threshold, and skip more steps in a row."""
        amount, in_a_row = self.cache.amount, self.cache.in_a_row
        match self.cache.kind:
            case CacheKind.FIRST_BLOCK:
                return FirstBlockCacheConfig(threshold=first_block_threshold(amount))
            case CacheKind.MAGCACHE:
                return MagCacheConfig(
                    threshold=MAGCACHE_THRESHOLD * amount,
                    max_skip_steps=in_a_row,
                    retention_ratio=MAGCACHE_FIRST_SHARE,
                    num_inference_steps=self.steps,
                    mag_ratios=list(self.mag_ratios),
                )
            case CacheKind.SEACACHE:
                return SeaCacheConfig(threshold=SEACACHE_THRESHOLD * amount, max_consecutive_cached=in_a_row)
            case CacheKind.TAYLORSEER:
                return TaylorSeerCacheConfig(
                    cache_interval=in_a_row,
                    disable_cache_before_step=TAYLORSEER_FIRST_STEPS,
                    max_order=1,
                    taylor_factors_dtype=torch.float32,
                    skip_predict_identifiers=[r"blocks\.\d+"],
                    cache_identifiers=["proj_out"],
                )
            case CacheKind.OFF:
                raise ValueError("a cache that is off has no configuration")


class PassCounter:
    """Counts the passes of the transformers in one clip, and those of which all blocks were computed."""

    def __init__(self) -> None:
        self.asked = 0
        self.computed = 0

    @property
    def passes(self) -> Passes:
        return Passes(self.asked, self.computed)

    def warnings(self, cache: StepCache | None) -> tuple[str, ...]:
        """That a cache did nothing, which nobody would see otherwise."""
        if cache is None or not self.asked or self.computed < self.asked:
            return ()
        return (f"The step cache ({TITLES[cache.kind]}) skipped no step of this clip; choose a larger amount.",)


@contextmanager
def step_cache(transformer: Any, caching: Caching, counter: PassCounter) -> Iterator[None]:
    """Context manager: the transformer skips blocks by the cache, whose state ends with the clip."""
    last = blocks_of(transformer)[-1]
    ask = transformer.register_forward_pre_hook(lambda *_: _count(counter, "asked"))
    with restoring_forwards([transformer, transformer.proj_out, *blocks_of(transformer)]):
        last.forward = _counted(last.forward, counter)
        transformer.enable_cache(caching.config)
        try:
            yield
        finally:
            transformer.disable_cache()
            ask.remove()


def _counted(forward: Callable[..., Any], counter: PassCounter) -> Callable[..., Any]:
    def counted(*arguments: Any, **options: Any) -> Any:
        _count(counter, "computed")
        return forward(*arguments, **options)

    return counted


def _count(counter: PassCounter, name: str) -> None:
    setattr(counter, name, getattr(counter, name) + 1)
