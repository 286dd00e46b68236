"""The training loop: batches, noise, loss, gradients, one step of Adam after another."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from wan_pipeline.engine.device.placement import MemoryGauge, Placement
from wan_pipeline.errors import GenerationError
from wan_pipeline.progress import check_cancelled
from wan_pipeline.trainer.batches import Batches, split
from wan_pipeline.trainer.experts import Expert, Trainable, Turns
from wan_pipeline.trainer.flow import Noisy, add_noise, noise_levels
from wan_pipeline.trainer.memory.plan import TrainingPlan
from wan_pipeline.trainer.prepare import Prepared
from wan_pipeline.trainer.progress import TrainingObserver, TrainingProgress, TrainingStage
from wan_pipeline.trainer.recipe import Recipe
from wan_pipeline.trainer.state import Facts, TrainingState, optimizer_tensors, restore_optimizer

SMOOTHED = 20
"""Steps whose mean is shown as the loss."""
SWAP_STEPS = 10
"""Steps of one expert before the other's turn."""
VALIDATION_LEVELS = (0.2, 0.5, 0.8)
"""Noise levels at which held-out stills are judged, always with the same noise."""


class NotFiniteError(GenerationError):
    """A loss or gradient that is not a number. The state before that step is kept."""


@dataclass
class Loop:
    """A training in the middle: `step` moves it on, `state` and `restore` carry it over an interruption."""

    model: Trainable
    prepared: Prepared
    recipe: Recipe
    shift: float
    plan: TrainingPlan
    place: Placement
    generator: torch.Generator
    """Draws everything that is random, on the CPU."""
    steps_done: int = 0
    losses: list[float] = field(default_factory=list)
    validation: list[tuple[int, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        used, self._held_out = split(self.prepared.buckets, self.recipe, self.generator)
        self._batches = Batches(self.prepared.buckets, used, self.recipe, self.generator)
        self.gauge = MemoryGauge(self.place)

    @property
    def loss(self) -> float:
        """Mean of the last steps' losses."""
        recent = self.losses[-SMOOTHED:]
        return sum(recent) / len(recent) if recent else math.nan

    def run_until(self, step: int, observer: TrainingObserver) -> None:
        """Train until so many steps are done. Raises Cancelled between steps, NotFiniteError."""
        started, first = time.monotonic(), self.steps_done
        with self.model.training(self.plan, self.place.device) as turns:
            while self.steps_done < step:
                check_cancelled(observer, "training")
                rate = self.do_step(turns)
                self.gauge.sample()
                each = (time.monotonic() - started) / (self.steps_done - first)
                left = each * (self.recipe.steps - self.steps_done)
                observer.progress(
                    TrainingProgress(
                        TrainingStage.TRAINING,
                        self.steps_done,
                        self.recipe.steps,
                        left,
                        self.loss,
                        rate,
                        step_loss=self.losses[-1],
                        step_seconds=each,
                        memory_gib=self.gauge.peak_mb * 1e6 / 2**30,
                    )
                )

    def validate(self) -> float | None:
        """Loss of the held-out stills, None if there are none. It draws nothing from the training's generator."""
        if not self._held_out:
            return None
        if self.validation and self.validation[-1][0] == self.steps_done:
            return self.validation[-1][1]
        losses = []
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad(), self.model.training(self.plan, self.place.device) as turns:
            for level in VALIDATION_LEVELS:
                expert = self._expert_for(level)
                turns.take(expert)
                for index in self._held_out:
                    clean, text = self.prepared.batch([index]), self.prepared.text_batch([index], [False])
                    noise = torch.randn(clean.shape, generator=generator)
                    noisy = self._noisy(expert, clean, noise, torch.tensor([level]), torch.tensor([False]))
                    losses.append(float(expert.loss(noisy, text, self.place)))
        mean = sum(losses) / len(losses)
        self.validation.append((self.steps_done, mean))
        return mean

    def state(self) -> TrainingState:
        """Everything that the coming steps depend on."""
        tensors: dict[str, Tensor] = {"generator": self.generator.get_state()}
        for number, expert in enumerate(self.model.experts):
            tensors |= {f"{number}.{name}": factor.detach().cpu() for name, factor in expert.factors.named()}
            tensors |= optimizer_tensors(expert.optimizer, [f"{number}.{name}" for name in expert.names])
        facts = Facts(self.steps_done, self._optimizer_steps(), self._batches.rest, self.losses, self.validation)
        return TrainingState(facts, tensors)

    def restore(self, state: TrainingState) -> None:
        """Go on from a state of the same training."""
        facts, tensors = state.facts, state.tensors
        self.steps_done, self.losses, self.validation = facts.step, list(facts.losses), list(facts.validation)
        for number, expert in enumerate(self.model.experts):
            with torch.no_grad():
                for name, factor in expert.factors.named():
                    factor.copy_(tensors[f"{number}.{name}"])
            names = [f"{number}.{name}" for name in expert.names]
            restore_optimizer(expert.optimizer, names, tensors, facts.optimizer_steps[number])
        self._batches.rest = [list(batch) for batch in facts.rest]
        self.generator.set_state(tensors["generator"])

    def do_step(self, turns: Turns) -> float:
        """One step. Returns its learning rate."""
        expert = self._expert_of_step(self.steps_done)
        turns.take(expert)
        noisy, text = self._draw(expert)
        loss = expert.loss(noisy, text, self.place)
        torch.autograd.backward(loss)
        norm = clip_grad_norm_(expert.factors.parameters(), self.recipe.clip_norm)
        value = float(loss.detach())
        if not math.isfinite(value) or not bool(torch.isfinite(norm)):
            expert.optimizer.zero_grad(set_to_none=True)
            raise NotFiniteError(
                f"Step {self.steps_done + 1} gave a loss that is not a number, with a learning rate of "
                f"{self.recipe.peak_rate(high_noise=expert.is_high_noise):g}"
                f"{' of the high-noise expert' if expert.is_high_noise else ''}, so the training has stopped; "
                f"train under another name with a --learning-rate below {self.recipe.learning_rate:g}."
            )
        rate = self.recipe.rate(self.steps_done, high_noise=expert.is_high_noise)
        expert.optimizer.param_groups[0]["lr"] = rate
        expert.optimizer.step()
        expert.optimizer.zero_grad(set_to_none=True)
        self.losses.append(value)
        self.steps_done += 1
        return rate

    def _draw(self, expert: Expert) -> tuple[Noisy, Tensor]:
        """The next batch with noise, and its texts."""
        indices = self._batches.next()
        clean, count = self.prepared.batch(indices), len(indices)
        recipe, generator = self.recipe, self.generator
        sigma = noise_levels(count, self.shift, recipe.uniform_share, generator, expert.within)
        noise = torch.randn(clean.shape, generator=generator)
        may_be_given = self.model.expands_timesteps and clean.shape[2] > 1
        given = torch.rand(count, generator=generator) < (recipe.first_frame_share if may_be_given else 0.0)
        dropped = torch.rand(count, generator=generator) < recipe.caption_dropout
        return self._noisy(expert, clean, noise, sigma, given), self.prepared.text_batch(indices, dropped.tolist())

    def _noisy(self, expert: Expert, clean: Tensor, noise: Tensor, sigma: Tensor, given: Tensor) -> Noisy:
        patch = expert.patch if self.model.expands_timesteps else None
        return add_noise(clean, noise, sigma, given, patch)

    def _expert_of_step(self, step: int) -> Expert:
        return self.model.experts[step // SWAP_STEPS % len(self.model.experts)]

    def _expert_for(self, level: float) -> Expert:
        """The expert that denoises from this noise level."""
        return next(expert for expert in self.model.experts if expert.within.low <= level <= expert.within.high)

    def _optimizer_steps(self) -> list[int]:
        """Steps of each expert so far."""
        turns = [step // SWAP_STEPS % len(self.model.experts) for step in range(self.steps_done)]
        return [turns.count(number) for number in range(len(self.model.experts))]
