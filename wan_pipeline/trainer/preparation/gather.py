"""All that a training trains on: its dataset, and what is there for regularisation."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from wan_pipeline.errors import UserError
from wan_pipeline.models.library import InstalledModel
from wan_pipeline.progress import check_cancelled
from wan_pipeline.settings import Settings
from wan_pipeline.trainer.dataset.buckets import Bucket, Buckets
from wan_pipeline.trainer.dataset.check import Dataset, check_dataset
from wan_pipeline.trainer.preparation.regularisation import Wanted, make_clips
from wan_pipeline.trainer.progress import TrainingObserver, TrainingProgress, TrainingStage
from wan_pipeline.trainer.recipe import Recipe
from wan_pipeline.trainer.request import TrainingRequest


@dataclass(frozen=True)
class Gatherer:
    """Reads and makes the examples of one training."""

    request: TrainingRequest
    model: InstalledModel
    recipe: Recipe
    observer: TrainingObserver

    def given(self) -> Dataset:
        """The dataset, with the regularisation that is given. Raises DatasetError or Cancelled."""
        dataset = self._check(self.request.dataset)
        given = self.request.regularisation
        return dataset if given is None else dataset.with_regularisation(self._check(given))

    def with_made(self, dataset: Dataset, settings: Settings) -> Dataset:
        """With the clips that the base model makes, if some are wanted. Raises as `make_clips` does."""
        if not self.request.regularisation_clips:
            return dataset
        captions = tuple(sorted({example.item.caption for example in dataset.examples} - {""}))
        if not captions:
            raise UserError("No image has a caption to make regularisation clips of; write some.")
        count, seed = self.request.regularisation_clips, self.request.seed
        wanted = Wanted(self.model, captions, count, self._buckets.of_made, seed)
        return dataset.with_regularisation(self._check(make_clips(wanted, settings, self.observer)))

    def buckets(self, dataset: Dataset) -> Counter[Bucket]:
        """Of everything that will be trained on, before the clips are made, with the number of examples of each."""
        counts = Counter(example.bucket for example in dataset.examples)
        return self._buckets.with_made(counts, self.request.regularisation_clips)

    @property
    def _buckets(self) -> Buckets:
        return Buckets(self.model.spec, self.recipe.pixels, self.recipe.max_frames)

    def _check(self, folder: Path) -> Dataset:
        def tell(done: int, total: int) -> None:
            check_cancelled(self.observer, "training")
            self.observer.progress(TrainingProgress(TrainingStage.CHECKING, done, total))

        return check_dataset(folder, self.model.spec, self._buckets, tell)
