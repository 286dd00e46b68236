"""One training, from a folder of images to a LoRA in the LoRA folder."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import Any

import torch

from wan_pipeline import __version__
from wan_pipeline.engine.device.environment import fixed_facts
from wan_pipeline.engine.device.placement import Placement, choose_placement, limit_memory, release_memory
from wan_pipeline.engine.load import quiet_libraries
from wan_pipeline.engine.provenance import ProvenanceRecorder
from wan_pipeline.errors import Cancelled, StorageError
from wan_pipeline.lora.library import LoraLibrary
from wan_pipeline.models.library import ModelLibrary
from wan_pipeline.models.precision import Precision
from wan_pipeline.settings import Settings
from wan_pipeline.trainer.dataset.buckets import Buckets
from wan_pipeline.trainer.dataset.check import Dataset, check_dataset
from wan_pipeline.trainer.experts import check_trainable, expert_suffixes, load_trainable
from wan_pipeline.trainer.loop import Loop, NotFiniteError
from wan_pipeline.trainer.memory.plan import TrainingPlan
from wan_pipeline.trainer.output import Output, WrittenLora
from wan_pipeline.trainer.prepare import Encoders, Prepared, prepare
from wan_pipeline.trainer.progress import TrainingObserver, TrainingProgress, TrainingStage, check_cancelled
from wan_pipeline.trainer.recipe import load_recipe
from wan_pipeline.trainer.request import TrainingRequest, check_seed
from wan_pipeline.trainer.state import load_state, save_state

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trained:
    """A finished training."""

    lora: WrittenLora
    steps: int
    loss: float
    """Mean of the last steps."""
    validation_loss: float | None
    """Of the held-out stills; None if there were none."""
    seconds: float
    """Of this run, with preparation."""
    peak_memory_gib: float
    warnings: tuple[str, ...]


def train(request: TrainingRequest, settings: Settings, observer: TrainingObserver) -> Trained:
    """Train a LoRA. Its state is saved on the way and when it is cancelled, so that it can be resumed to the same bits.

    Raises UserError, GenerationError, StorageError or Cancelled.
    """
    started = time.monotonic()
    quiet_libraries()
    training = _Training(request, settings, observer)
    training.run()
    lora = training.finish()
    loop = training.loop
    return Trained(
        lora=lora,
        steps=loop.steps_done,
        loss=loop.loss,
        validation_loss=loop.validate(),
        seconds=time.monotonic() - started,
        peak_memory_gib=loop.gauge.peak_mb * 1e6 / 2**30,
        warnings=tuple(training.warnings),
    )


class _Training:
    """The steps of `train`, in their order."""

    def __init__(self, request: TrainingRequest, settings: Settings, observer: TrainingObserver) -> None:
        self._request = request
        self._settings = settings
        self._observer = observer
        self.warnings: list[str] = []
        check_seed(request.seed)
        self._model = ModelLibrary(settings).find(request.model)
        suffixes = expert_suffixes(check_trainable(self._model))
        self._recipe = load_recipe(request.recipe, self._model.spec.memory, **request.changes)
        self._output = Output(settings, request.output)
        self._output.check(suffixes, resume=request.resume)
        place = choose_placement(settings.device)
        limit_memory(place, settings.memory_limit)
        self._plan = TrainingPlan(Precision.FP32 if place.on_cpu else Precision.BF16)
        self._prepared = self._prepare(place)
        self._identity = self._identify(place)
        self.loop = self._load(place)
        self._saved_step = 0
        if request.resume:
            self.loop.restore(load_state(self._output.state, self._identity))
            self._saved_step = self.loop.steps_done

    def run(self) -> None:
        """Train from checkpoint to checkpoint."""
        recipe, loop = self._recipe, self.loop
        while loop.steps_done < recipe.steps:
            due = next(step for step in range(loop.steps_done + 1, recipe.steps + 1) if recipe.is_checkpoint(step))
            try:
                loop.run_until(due, self._observer)
            except Cancelled:
                self._save_state()
                raise
            except NotFiniteError as error:
                raise NotFiniteError(f"{error} {self._kept()}") from error
            loop.validate()
            self._save_checkpoint()

    def finish(self) -> WrittenLora:
        """Write the LoRA, and remove the state that it no longer needs."""
        lora = self._output.write_result(self._tensors(), self._metadata())
        self._output.remove_state()
        return lora

    def _prepare(self, place: Placement) -> Prepared:
        dataset = self._check()
        settings = self._settings
        recorder = ProvenanceRecorder(settings, LoraLibrary(settings.loras), place)
        encoders = Encoders(self._model, place, settings.cache, recorder.text_setup(), place)
        return prepare(dataset, self._request.trigger, encoders, self._observer)

    def _check(self) -> Dataset:
        spec, recipe = self._model.spec, self._recipe

        def tell(done: int, total: int) -> None:
            check_cancelled(self._observer)
            self._observer.progress(TrainingProgress(TrainingStage.CHECKING, done, total))

        dataset = check_dataset(self._request.dataset, spec, Buckets(spec, recipe.pixels, recipe.max_frames), tell)
        self.warnings += [*(finding.message for finding in dataset.findings), *dataset.advice]
        return dataset

    def _load(self, place: Placement) -> Loop:
        self._observer.progress(TrainingProgress(TrainingStage.LOADING))
        generator = torch.Generator().manual_seed(self._request.seed)
        release_memory(place)
        model = load_trainable(self._model, self._plan, self._recipe, place, self._settings.cache, generator)
        return Loop(model, self._prepared, self._recipe, self._model.spec.flow_shift, self._plan, place, generator)

    def _identify(self, place: Placement) -> dict[str, Any]:
        """Everything that decides the weights, by the words that say what has changed."""
        return {
            "dataset": self._prepared.sha256,
            "recipe": self._recipe.to_dict(),
            "model": self._model.fingerprint,
            "seed": self._request.seed,
            "trigger word": self._request.trigger,
            "device": place.device.type,
            "precision": [self._plan.precision.value, self._plan.small_factors],
        }

    def _save_state(self) -> None:
        try:
            save_state(self._output.state, self.loop.state(), self._identity)
            self._saved_step = self.loop.steps_done
        except StorageError as error:  # an earlier one is still whole
            self._warn(f"The training's state after step {self.loop.steps_done} could not be saved: {error}")

    def _save_checkpoint(self) -> None:
        self._save_state()
        if self.loop.steps_done == self._recipe.steps:  # the result itself
            return
        try:
            self._output.write_checkpoint(self.loop.steps_done, self._tensors(), self._metadata())
        except StorageError as error:
            self._warn(f"The LoRA after step {self.loop.steps_done} could not be saved: {error}")

    def _kept(self) -> str:
        """What is on the disk of a training that cannot go on."""
        if not self._saved_step:
            return "Nothing was saved yet."
        return f"Its state and its LoRA as of step {self._saved_step} are kept in {self._output.folder}."

    def _tensors(self) -> dict[str, dict[str, torch.Tensor]]:
        return {expert.suffix: expert.factors.file_tensors() for expert in self.loop.model.experts}

    def _metadata(self) -> dict[str, Any]:
        """What the file says of itself, so that it can be made again."""
        loop, request = self.loop, self._request
        return {
            "base_model": self._model.spec.id,
            "rank": self._recipe.rank,
            "alpha": self._recipe.alpha,
            "trigger": request.trigger,
            "dataset_sha256": self._prepared.sha256,
            "recipe": {"name": request.recipe, **self._recipe.to_dict()},
            "receipt": {
                "program": f"Wan Studio {__version__}",
                "model_fingerprint": self._model.fingerprint,
                "seed": request.seed,
                "steps": loop.steps_done,
                "loss": round(loop.loss, 6),
                "examples": len(self._prepared.buckets),
                "environment": fixed_facts(loop.place),
            },
        }

    def _warn(self, sentence: str) -> None:
        logger.warning(sentence)
        self.warnings.append(sentence)
