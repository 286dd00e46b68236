"""The memory plan of a training, and what it will take, from its dataset, its recipe and this machine. No torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from wan_pipeline.models.precision import Precision
from wan_pipeline.models.spec import ModelSpec
from wan_pipeline.planning.forecast import PROCESS_BYTES
from wan_pipeline.planning.machine import GIB, Machine
from wan_pipeline.planning.planner import SPARE
from wan_pipeline.trainer.dataset.buckets import Bucket
from wan_pipeline.trainer.memory.dataset import dataset_bytes
from wan_pipeline.trainer.memory.forecast import TrainingForecast, Work, candidates, fitted, forecast
from wan_pipeline.trainer.memory.plan import TrainingPlan
from wan_pipeline.trainer.recipe import Optimizer, Recipe
from wan_pipeline.wording import duration

TEXT_GIB, VAE_GIB = 14.0, 12.0
"""Free memory from which the text encoder stays on the device as a whole (UMT5-XXL, 10.6 GiB in bf16), and the VAE
encodes whole frames in fp32 (33 frames of 512 x 512: 7 GiB)."""

SMALLEST_TOLD = 0.05
"""GiB of a dataset from which it is told what it takes."""


@dataclass(frozen=True)
class TrainingCandidate:
    """A plan and what is expected of it."""

    forecast: TrainingForecast
    limit: float
    """Bytes that it may take, of the device or of the machine where there is none."""
    ram: float
    """Bytes that it may take of the machine's memory."""
    steps: int
    dataset_bytes: float
    """Of the forecast, bytes of the machine's memory that the prepared dataset takes."""

    @property
    def plan(self) -> TrainingPlan:
        return self.forecast.plan

    @property
    def fits(self) -> bool:
        return self.deficit == 0

    @property
    def deficit(self) -> float:
        """Bytes that it needs beyond what it may take; 0 if it fits."""
        return max(self.forecast.bytes - self.limit, 0.0) + self.host_deficit

    @property
    def host_deficit(self) -> float:
        """Of these, bytes of the machine's memory beside a device."""
        return max(self.forecast.host_bytes - self.ram, 0.0)

    @property
    def dataset_text(self) -> str:
        """What the dataset takes, to follow what does not fit; empty for a small one."""
        gib = self.dataset_bytes / GIB
        return f", with {gib:.1f} GiB of the machine's memory for the dataset" if gib >= SMALLEST_TOLD else ""

    @property
    def minutes(self) -> float:
        """Of all steps, without preparing the dataset."""
        return self.steps * self.forecast.step_seconds / 60

    def to_dict(self) -> dict[str, object]:
        return {
            "fits": self.fits,
            "plan": str(self.plan),
            "gib": round(self.forecast.bytes / GIB, 2),
            "limit_gib": round(self.limit / GIB, 2),
            "host_gib": round(self.forecast.host_bytes / GIB, 2),
            "dataset_gib": round(self.dataset_bytes / GIB, 2),
            "steps": self.steps,
            "minutes": round(self.minutes, 1),
        }

    def __str__(self) -> str:
        """For example: int8 weights, 2 blocks at a time; 6.9 of 7.2 GiB, about 40 min."""
        sizes = f"{self.forecast.bytes / GIB:.1f} of {self.limit / GIB:.1f} GiB"
        fits = "" if self.fits else "does not fit: "
        if self.host_deficit:
            sizes += f", {self.forecast.host_bytes / GIB:.1f} of {self.ram / GIB:.1f} GiB of the machine's memory"
        if not self.fits:
            sizes += self.dataset_text
        return f"{self.plan}; {fits}{sizes}, about {duration(self.minutes * 60)}"


class TrainingPlanner:
    """Chooses among the plans for one training on one machine."""

    def __init__(
        self, spec: ModelSpec, recipe: Recipe, buckets: Mapping[Bucket, int], machine: Machine, limit_gib: float = 0.0
    ) -> None:
        """`buckets` says how many examples each has; `limit_gib` caps the device's memory; 0: all but a reserve."""
        self._recipe = recipe
        self._machine = machine
        self._works: Counter[Work] = Counter()  # of thousands of examples few have a size of their own
        for bucket, count in buckets.items():
            self._works[_work(spec, recipe, bucket)] += count
        self._dataset_bytes = dataset_bytes(spec, buckets, on_cpu=not machine.vram)
        self._ram = max(machine.ram - PROCESS_BYTES, 0.0)
        free = (1 - SPARE) * machine.vram if machine.vram else self._ram
        self.limit = min(free, limit_gib * GIB) if limit_gib and machine.vram else free  # a cap has its own reserve

    @property
    def streams_text(self) -> bool:
        return bool(self._machine.vram) and self.limit < TEXT_GIB * GIB

    @property
    def encodes_in_tiles(self) -> bool:
        return bool(self._machine.vram) and self.limit < VAE_GIB * GIB

    def choose(self, numbers: list[Any] | None = None) -> TrainingCandidate:
        """The quickest plan that fits, with factors in fp32 if any such plan does; else the one that takes least.

        `numbers`, the `TrainingPlan.numbers` of a training to resume, leaves plans out that would change its weights.
        """
        plans = list(self._plans())
        same = [plan for plan in plans if numbers in (None, plan.numbers)]
        candidates = [self._candidate(plan) for plan in same or plans]  # of another device none; resuming will say so
        fitting = [candidate for candidate in candidates if candidate.fits]
        if not fitting:
            return min(candidates, key=lambda candidate: (candidate.deficit, candidate.forecast.bytes))
        return min(fitting, key=lambda candidate: (candidate.plan.small_factors, candidate.forecast.step_seconds))

    def smaller(self, failed: TrainingPlan) -> TrainingCandidate | None:
        """The plan to go on with when one ran out of memory: the quickest that takes a tenth less, if there is one."""
        before = self._candidate(failed)
        most = 0.9 * before.forecast.bytes
        less = [self._candidate(plan) for plan in self._plans(most)]
        return min(
            (each for each in less if each.forecast.bytes <= most and each.host_deficit <= before.host_deficit),
            key=lambda candidate: (candidate.plan.small_factors, candidate.forecast.step_seconds),
            default=None,
        )

    def _plans(self, limit: float = 0.0) -> Iterator[TrainingPlan]:
        if not self._machine.vram:  # the CPU computes in fp32, from weights in place
            yield from (TrainingPlan(Precision.FP32, recomputes=recomputes) for recomputes in (False, True))
            return
        for plan in candidates():
            yield fitted(self._largest, plan, limit or self.limit)

    def _candidate(self, plan: TrainingPlan) -> TrainingCandidate:
        """The memory of the largest batch and of the dataset, and the mean time of a step."""
        largest = forecast(self._largest, plan, self._machine)
        batches = {work: count / work.examples for work, count in self._works.items()}
        seconds = sum(forecast(work, plan, self._machine).step_seconds * each for work, each in batches.items())
        device, host = largest.bytes, largest.host_bytes + self._dataset_bytes
        if not self._machine.vram:
            device, host = device + host, 0.0
        mean = TrainingForecast(plan, device, host, self._recipe.accumulation * seconds / sum(batches.values()))
        return TrainingCandidate(mean, self.limit, self._ram, self._recipe.steps, self._dataset_bytes)

    @property
    def _largest(self) -> Work:
        return max(self._works, key=lambda work: work.tokens)


def _work(spec: ModelSpec, recipe: Recipe, bucket: Bucket) -> Work:
    count = recipe.stills if bucket.is_still else recipe.clips
    tokens = count * spec.latent_tokens(bucket.width, bucket.height, bucket.frames)
    return Work(
        spec.memory,
        tokens,
        count,
        recipe.rank,
        spec.max_sequence_length,
        averages=recipe.average > 0,
        moments_in_8_bits=recipe.optimizer is Optimizer.ADAMW_8BIT,
    )
