"""The order of training: every example once, shuffled, in batches of one bucket; then all of them again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import TypeVar

import torch

from wan_pipeline.trainer.dataset.buckets import Bucket
from wan_pipeline.trainer.recipe import Recipe

T = TypeVar("T")


class Batches:
    """Batches of indices of examples, without end. `rest` and the generator are all of its state."""

    def __init__(
        self, buckets: Sequence[Bucket], used: Iterable[int], recipe: Recipe, generator: torch.Generator
    ) -> None:
        """`buckets` holds each example's; `used` are the examples to train on."""
        self._by_bucket: dict[Bucket, list[int]] = defaultdict(list)
        for index in used:
            self._by_bucket[buckets[index]].append(index)
        self._recipe = recipe
        self._generator = generator
        self.rest: list[list[int]] = []
        """The batches that are left of this pass over the examples, the next one last."""

    def next(self) -> list[int]:
        """The next batch. The last one of a bucket may be smaller than the others."""
        if not self.rest:
            self.rest = self._shuffled()
        return self.rest.pop()

    def _shuffled(self) -> list[list[int]]:
        batches = []
        for bucket, members in sorted(self._by_bucket.items()):
            size = self._recipe.stills if bucket.is_still else self._recipe.clips
            order = self._permutation(members)
            batches += [order[start : start + size] for start in range(0, len(order), size)]
        return self._permutation(batches)

    def _permutation(self, values: list[T]) -> list[T]:
        return [values[index] for index in torch.randperm(len(values), generator=self._generator).tolist()]


def split(
    buckets: Sequence[Bucket], recipe: Recipe, generator: torch.Generator, own: int | None = None
) -> tuple[list[int], list[int]]:
    """Indices of the examples to train on, and of those that are held out: stills, or clips where there are no stills.

    Of fewer than ten none is, and of those behind the first `own` none.
    """
    candidates = range(len(buckets) if own is None else own)
    stills = [index for index in candidates if buckets[index].is_still] or list(candidates)
    count = min(round(len(stills) * recipe.held_out), 8) if len(stills) >= 10 else 0
    chosen = torch.randperm(len(stills), generator=generator)[:count].tolist()
    held_out = sorted(stills[index] for index in chosen)
    return [index for index in range(len(buckets)) if index not in set(held_out)], held_out
