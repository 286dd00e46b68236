"""What a training will take, before it is queued: whether it fits, GiB, minutes. No torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from wan_pipeline.jobs.background.dataset_checks import BucketCount
from wan_pipeline.jobs.estimates.estimator import Estimator
from wan_pipeline.jobs.training.samples import sample_frames
from wan_pipeline.models.spec import ModelSpec
from wan_pipeline.planning.hardware import load_hardware
from wan_pipeline.planning.machine import GIB
from wan_pipeline.requests.own_clip import own_request
from wan_pipeline.settings import Settings
from wan_pipeline.trainer.dataset.buckets import Bucket, Buckets
from wan_pipeline.trainer.memory.choose import TrainingCandidate, TrainingPlanner
from wan_pipeline.trainer.recipe import Recipe
from wan_pipeline.trainer.trainable import check_optimizer
from wan_pipeline.wording import duration, plural


@dataclass(frozen=True)
class TrainingEstimate:
    """A sentence for the user, and whether the training fits."""

    text: str
    """For example: fits: 6.9 of 7.2 GiB, about 40 min, and 2 min of samples."""
    fits: bool
    candidate: TrainingCandidate | None
    """None until the machine's hardware is known."""


class TrainingEstimator:
    """Estimates trainings by the hardware that the worker stored."""

    def __init__(self, settings: Settings, clips: Estimator) -> None:
        self._settings = settings
        self._clips = clips

    def estimate(
        self, spec: ModelSpec, recipe: Recipe, buckets: Sequence[BucketCount], prompts: int = 0, clips: int = 0
    ) -> TrainingEstimate:
        """For a checked dataset, a number of prompts for samples, and of regularisation clips that the base model is to
        make. Raises ModelError, or UserError for a recipe whose optimizer cannot run here.
        """
        hardware = load_hardware(self._settings.cache)
        check_optimizer(recipe, hardware.device if hardware else None)
        if hardware is None or not buckets:
            return TrainingEstimate(f"{plural(recipe.steps, 'step')} of rank {recipe.rank}", fits=True, candidate=None)
        counts: Counter[Bucket] = Counter()
        for counted in buckets:
            counts[counted.bucket] += counted.count
        counts = Buckets(spec, recipe.pixels, recipe.max_frames).with_made(counts, clips)
        candidate = TrainingPlanner(spec, recipe, counts, hardware.machine, self._settings.memory_limit).choose()
        return TrainingEstimate(self._text(spec, recipe, candidate, prompts), candidate.fits, candidate)

    def _text(self, spec: ModelSpec, recipe: Recipe, candidate: TrainingCandidate, prompts: int) -> str:
        needed, limit = candidate.forecast.bytes / GIB, candidate.limit / GIB
        if not candidate.fits:
            host, ram = candidate.forecast.host_bytes / GIB, candidate.ram / GIB
            return (
                f"does not fit: it needs {needed:.1f} GiB of {limit:.1f}, and {host:.1f} of {ram:.1f} GiB of the "
                f"machine's memory{candidate.dataset_text}; train fewer or shorter clips, or another model"
            )
        steps, time = plural(candidate.steps, "step"), duration(candidate.minutes * 60)
        text = f"fits: {needed:.1f} of {limit:.1f} GiB, {steps}, about {time}"
        if prompts:
            clips = prompts * (recipe.checkpoints + 1)
            text += f", and {duration(clips * self._sample_seconds(spec))} of samples"
        return text

    def _sample_seconds(self, spec: ModelSpec) -> float:
        request = own_request(spec)
        return self._clips.seconds(replace(request, num_frames=sample_frames(spec)))
