"""What the Train room says that a training takes."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from wan_pipeline.jobs.background.dataset_checks import BucketCount
from wan_pipeline.jobs.estimates.estimator import Estimator
from wan_pipeline.jobs.training import forecast
from wan_pipeline.jobs.training.forecast import TrainingEstimator
from wan_pipeline.models.registry import find
from wan_pipeline.planning.hardware import Hardware
from wan_pipeline.planning.machine import GIB
from wan_pipeline.settings import Settings
from wan_pipeline.trainer.dataset.buckets import Bucket, Buckets
from wan_pipeline.trainer.recipe import load_recipe

CARD = Hardware("cuda", "H100", 80 * GIB, 78 * GIB, 24 * GIB, 24 * GIB)
CLIP = Bucket(512, 512, 33)


def test_a_dataset_too_large_for_the_memory_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forecast, "load_hardware", lambda _: CARD)
    estimator = TrainingEstimator(Settings(tmp_path), cast(Estimator, SimpleNamespace()))
    spec = find("wan2.2-i2v-a14b")
    recipe = load_recipe("motion", spec.memory)
    assert estimator.estimate(spec, recipe, [BucketCount(CLIP, 20), BucketCount(CLIP, 20)]).fits
    found = estimator.estimate(spec, recipe, [BucketCount(CLIP, 2500), BucketCount(CLIP, 2500)])
    assert not found.fits
    assert "with 28.5 GiB of the machine's memory for the dataset; train fewer" in found.text


def test_clips_that_the_base_model_makes_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forecast, "load_hardware", lambda _: CARD)
    estimator = TrainingEstimator(Settings(tmp_path), cast(Estimator, SimpleNamespace()))
    spec = find("wan2.1-t2v-14b")
    recipe = load_recipe("style", spec.memory)
    stills = [BucketCount(Bucket(480, 480), 40)]
    made = Buckets(spec, recipe.pixels, recipe.max_frames).of_made
    alone, with_clips = (estimator.estimate(spec, recipe, stills, clips=clips).candidate for clips in (0, 8))
    given = estimator.estimate(spec, recipe, [*stills, BucketCount(made, 8)]).candidate
    assert made.frames > 1
    assert alone is not None
    assert with_clips is not None
    assert with_clips == given
    assert with_clips.minutes > alone.minutes
    assert with_clips.dataset_bytes > alone.dataset_bytes
