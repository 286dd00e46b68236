"""One training, from a folder of images to a LoRA in the LoRA folder."""

from __future__ import annotations

import gc
import logging
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from wan_pipeline import __version__
from wan_pipeline.engine.device.deterministic import deterministic as deterministic_mode
from wan_pipeline.engine.device.environment import fixed_facts
from wan_pipeline.engine.device.placement import (
    choose_placement,
    is_out_of_memory,
    limit_memory,
    release_memory,
    release_pinned,
)
from wan_pipeline.engine.device.probe import probe
from wan_pipeline.engine.loading.load import quiet_libraries
from wan_pipeline.engine.provenance import ProvenanceRecorder
from wan_pipeline.errors import Cancelled, OutOfMemory, StorageError
from wan_pipeline.lora.library import LoraLibrary
from wan_pipeline.models.library import ModelLibrary
from wan_pipeline.settings import Settings
from wan_pipeline.trainer.experts import load_trainable
from wan_pipeline.trainer.files.checkpoints import checkpoints
from wan_pipeline.trainer.files.output import Output, WrittenLora
from wan_pipeline.trainer.files.state import load_state, read_header, save_state
from wan_pipeline.trainer.loop import Loop, NotFiniteError
from wan_pipeline.trainer.memory.choose import TrainingCandidate, TrainingPlanner
from wan_pipeline.trainer.memory.plan import TrainingPlan
from wan_pipeline.trainer.optimizers import check_computes
from wan_pipeline.trainer.preparation.encode import Encoders
from wan_pipeline.trainer.preparation.gather import Gatherer
from wan_pipeline.trainer.preparation.prepare import Prepared, prepare
from wan_pipeline.trainer.progress import TrainingObserver, TrainingProgress, TrainingStage
from wan_pipeline.trainer.recipe import load_recipe
from wan_pipeline.trainer.request import TrainingRequest, check_seed, check_wanted, trigger_notes
from wan_pipeline.trainer.trainable import check_optimizer, check_trainable, expert_suffixes
from wan_pipeline.trainer.trained import Trained

logger = logging.getLogger(__name__)


def train(request: TrainingRequest, settings: Settings, observer: TrainingObserver) -> Trained:
    """Train a LoRA. Its state is saved on the way and when it is cancelled, so that it can be resumed to the same bits.

    Raises UserError, GenerationError, StorageError or Cancelled.
    """
    started = time.monotonic()
    quiet_libraries()
    training = _Training(request, settings, observer)
    with deterministic_mode(None) if request.deterministic else nullcontext():
        training.start()
        training.run()
        training.loop.validate()
    lora, loop = training.finish(), training.loop
    return Trained(
        lora=lora,
        steps=loop.steps_done,
        loss=loop.loss,
        validation=tuple(loop.validation),
        checkpoints=tuple(checkpoints(settings, request.output)),
        seconds=time.monotonic() - started,
        peak_memory_gib=loop.gauge.peak_mb * 1e6 / 2**30,
        warnings=training.warnings,
    )


def forecast_training(request: TrainingRequest, settings: Settings, observer: TrainingObserver) -> TrainingCandidate:
    """The memory plan of a training and what it is expected to take, without training. Raises what `train` raises."""
    return _Training(request, settings, observer).chosen


class _Training:
    """The steps of `train`, in their order."""

    def __init__(self, request: TrainingRequest, settings: Settings, observer: TrainingObserver) -> None:
        self._request = request
        self._settings = settings
        self._observer = observer
        check_seed(request.seed)
        self._model = ModelLibrary(settings).find(request.model)
        suffixes = expert_suffixes(check_trainable(self._model))
        self._recipe = load_recipe(request.recipe, self._model.spec.memory, **request.changes)
        self._output = Output(settings, request.output)
        self._output.check(suffixes, resume=request.resume)
        check_wanted(self._model.spec, request.regularisation_clips, request.trigger)
        saved = read_header(self._output.state) if request.resume else None
        self._saved_step = saved.facts.step if saved else 0
        self._told = list(saved.facts.warnings) if saved else []
        self._told_since = False
        self._saved_identity: dict[str, Any] | None = None
        self._place = choose_placement(settings.device)
        check_optimizer(self._recipe, self._place.device.type)
        limit_memory(self._place, settings.memory_limit)
        check_computes(self._recipe, self._place.device)
        self._gatherer = Gatherer(request, self._model, self._recipe, observer)
        self._dataset = self._gatherer.given()
        self._planner = self._plan_memory()
        self.chosen = self._planner.choose(saved.identity.get("precision") if saved else None)

    def start(self) -> None:
        """Prepare the dataset and load the model, with the state of an earlier run if that is to be resumed."""
        self._tell(TrainingProgress(TrainingStage.LOADING, note=str(self.chosen)))
        self._dataset = self._gatherer.with_made(self._dataset, self._settings)
        self._prepared = self._prepare()
        if self._request.resume:
            self._saved_identity = self._identify(self.chosen.plan)
        self._load()

    def run(self) -> None:
        """Train from checkpoint to checkpoint."""
        steps = self._recipe.steps
        while (done := self.loop.steps_done) < steps:
            due = next(step for step in range(done + 1, steps + 1) if self._recipe.is_checkpoint(step))
            if self._has_room(partial(self._run_until, due)):
                self._save_checkpoint()
            else:
                del self.loop
                self._choose_smaller()
                self._load()

    def finish(self) -> WrittenLora:
        """Write the LoRA, and remove the state that it no longer needs."""
        lora = self._output.write_result(self._tensors(), self._metadata())
        self._output.remove_state()
        return lora

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the person should know of it, one sentence each."""
        about = trigger_notes(self._request.trigger, self._model.spec)
        found = (finding.message for finding in self._dataset.findings)
        return (*about, *found, *self._dataset.advice, *self._told)

    def _plan_memory(self) -> TrainingPlanner:
        machine = probe(self._place.device, self._settings.cache).machine
        buckets = self._gatherer.buckets(self._dataset)
        return TrainingPlanner(self._model.spec, self._recipe, buckets, machine, self._settings.memory_limit)

    def _prepare(self) -> Prepared:
        settings, place, planner = self._settings, self._place, self._planner
        setup = ProvenanceRecorder(settings, LoraLibrary(settings.loras), place).text_setup()
        streams_text, in_tiles = planner.streams_text, planner.encodes_in_tiles
        encoders = Encoders(self._model, place, settings.cache, setup, streams_text, in_tiles)
        return prepare(self._dataset, self._request.trigger, encoders, self._observer)

    def _load(self) -> None:
        """Load the model, by the next smaller plan if there is no room for it, with the saved state if there is one."""
        self._tell(TrainingProgress(TrainingStage.LOADING))
        while not self._has_room(self._load_model):
            self._choose_smaller()
        self._identity = self._identify(self.chosen.plan)
        if self._saved_identity is not None:
            self.loop.restore(load_state(self._output.state, self._saved_identity))

    def _load_model(self) -> None:
        """Load it by the chosen plan, at the beginning of its training."""
        plan, generator = self.chosen.plan, torch.Generator().manual_seed(self._request.seed)
        model = load_trainable(self._model, plan, self._recipe, self._place, self._settings.cache, generator)
        shift = self._model.spec.flow_shift
        self.loop = Loop(model, self._prepared, self._recipe, shift, plan, self._place, generator)

    def _run_until(self, step: int) -> None:
        """Train, and save the state if it is cancelled."""
        try:
            if not self.loop.steps_done:
                self._tell(self._validated())  # the base model's
            self.loop.run_until(step, self._observer)
            self._tell(self._validated())
        except Cancelled:
            if self.loop.steps_done > self._saved_step or (self._saved_step and self._told_since):
                self._save_state()
            raise
        except NotFiniteError as error:
            raise NotFiniteError(f"{error} {self._kept()}") from error

    def _validated(self) -> TrainingProgress:
        steps, validation = self.loop.steps_done, self.loop.validate()
        return TrainingProgress(TrainingStage.VALIDATING, steps, self._recipe.steps, validation=validation)

    def _has_room(self, work: Callable[[], None]) -> bool:
        """Do it. False if the device ran out of memory: the error, whose frames hold the model, is gone by then."""
        try:
            work()
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            logger.warning("Out of memory by the plan %s: %s", self.chosen.plan, str(error))
            return False
        return True

    def _choose_smaller(self) -> None:
        """Give back what the last plan took, and choose the next smaller one. Raises OutOfMemory if there is none."""
        gc.collect()  # modules and their hooks refer to each other
        release_memory(self._place)
        release_pinned(self._place)
        smaller = self._planner.smaller(self.chosen.plan)
        if smaller is None:
            raise OutOfMemory(
                f"The {self._place.device.type} ran out of memory by the smallest plan ({self.chosen.plan}); train "
                f"shorter clips, or with a lower --rank. {self._kept()}",
                None,
            )
        self._warn(f"The device ran out of memory; from step {self._saved_step} on: {smaller}.")
        self.chosen = smaller

    def _tell(self, progress: TrainingProgress) -> None:
        self._observer.progress(progress)

    def _identify(self, plan: TrainingPlan) -> dict[str, Any]:
        """Everything that decides the weights, in the words that say what has changed."""
        return {
            "dataset": self._prepared.sha256,
            "recipe": self._recipe.to_dict(),
            "model": self._model.fingerprint,
            "seed": self._request.seed,
            "trigger word": self._request.trigger,
            "device": self._place.device.type,
            "precision": plan.numbers,
            "deterministic mode": self._request.deterministic,
        }

    def _save_state(self) -> None:
        try:
            state = self.loop.state()
            told = replace(state, facts=replace(state.facts, warnings=self._told))
            save_state(self._output.state, told, self._identity)
            self._saved_identity, self._saved_step = self._identity, self.loop.steps_done
            self._told_since = False
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
        return (
            f"Its state as of step {self._saved_step}, and the LoRAs of its checkpoints so far, are kept in "
            f"{self._output.folder}."
        )

    def _tensors(self) -> dict[str, dict[str, torch.Tensor]]:
        return {expert.suffix: expert.file_tensors() for expert in self.loop.model.experts}

    def _metadata(self) -> dict[str, Any]:
        """The metadata of the LoRA file, from which it can be made again."""
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
                "validation_loss": round(loop.validation[-1][1], 6) if loop.validation else None,
                "examples": len(self._prepared.buckets),
                "environment": fixed_facts(self._place),
            },
        }

    def _warn(self, sentence: str) -> None:
        """Say it at the end, also of a training that is resumed until then."""
        logger.warning(sentence)
        self._told.append(sentence)
        self._told_since = True
