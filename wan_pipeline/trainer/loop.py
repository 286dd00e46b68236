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
from wan_pipeline.trainer.files.state import Facts, TrainingState
from wan_pipeline.trainer.flow import Noisy, add_noise, noise_levels
from wan_pipeline.trainer.memory.plan import TrainingPlan
from wan_pipeline.trainer.optimizers import optimizer_tensors, restore_optimizer
from wan_pipeline.trainer.preparation.prepare import Prepared
from wan_pipeline.trainer.progress import TrainingObserver, TrainingProgress, TrainingStage
from wan_pipeline.trainer.recipe import Recipe

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
        used, self._held_out = split(self.prepared.buckets, self.recipe, self.generator, self.prepared.own)
        self._batches = Batches(self.prepared.buckets, used, self.recipe, self.generator)
        self.gauge = MemoryGauge(self.place)

    @property
    def loss(self) -> float:
        """Mean of the last steps' losses."""
        recent = self.losses[-SMOOTHED:]
        return sum(recent) / len(recent) if recent else math.nan

    def run_until(self, step: int, observer: TrainingObserver) -> None:
        """Train until this many steps are done. Raises Cancelled between steps, NotFiniteError."""
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
        """Loss of what is held out, None if nothing is. It draws nothing from the training's generator."""
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
                with expert.averaged():
                    losses += [self._held_out_loss(expert, index, level, generator) for index in self._held_out]
        mean = sum(losses) / len(losses)
        self.validation.append((self.steps_done, mean))
        return mean

    def _held_out_loss(self, expert: Expert, index: int, level: float, generator: torch.Generator) -> float:
        text = self.prepared.text_batch([index], [False])
        noise = torch.randn(self.prepared.batch([index]).shape, generator=generator)
        noisy = self._noisy(expert, [index], noise, torch.tensor([level]), torch.tensor([False]))
        return float(expert.loss(noisy, text, self.place))

    def state(self) -> TrainingState:
        """Everything that the coming steps depend on."""
        tensors: dict[str, Tensor] = {"generator": self.generator.get_state()}
        for number, expert in enumerate(self.model.experts):
            tensors |= {f"{number}.{name}": factor.detach().cpu() for name, factor in expert.factors.named()}
            tensors |= optimizer_tensors(expert.optimizer, [f"{number}.{name}" for name in expert.names])
            if expert.average is not None:
                means = zip(expert.names, expert.average.values, strict=True)
                tensors |= {f"{number}.{name}.average": mean.cpu() for name, mean in means}
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
            if expert.average is not None:
                expert.average.restore([tensors[f"{name}.average"] for name in names])
        self._batches.rest = [list(batch) for batch in facts.rest]
        self.generator.set_state(tensors["generator"])

    def do_step(self, turns: Turns) -> float:
        """One step. Returns its learning rate."""
        number = self._turn_of_step(self.steps_done)
        expert = self.model.experts[number]
        turns.take(expert)
        value = self._backward(expert)
        norm = clip_grad_norm_(expert.factors.parameters(), self.recipe.clip_norm)
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
        if expert.average is not None:
            expert.average.update(self._optimizer_steps()[number])
        return rate

    def _backward(self, expert: Expert) -> float:
        """Add up the gradients of a step's batches, and return the mean of their losses.

        Every batch counts the same, full or the smaller last one of a bucket.
        """
        count, total = self.recipe.accumulation, 0.0
        for _ in range(count):
            noisy, text = self._draw(expert)
            loss = expert.loss(noisy, text, self.place) / count
            torch.autograd.backward(loss)
            total += float(loss.detach())
        return total

    def _draw(self, expert: Expert) -> tuple[Noisy, Tensor]:
        """The next batch with noise, and its texts."""
        indices = self._batches.next()
        shape, count = self.prepared.batch(indices).shape, len(indices)
        recipe, generator = self.recipe, self.generator
        sigma = noise_levels(count, self.shift, recipe.uniform_share, generator, expert.within)
        noise = torch.randn(shape, generator=generator)
        may_be_given = self.model.expands_timesteps and shape[2] > 1
        given = torch.rand(count, generator=generator) < (recipe.first_frame_share if may_be_given else 0.0)
        dropped = torch.rand(count, generator=generator) < recipe.caption_dropout
        return self._noisy(expert, indices, noise, sigma, given), self.prepared.text_batch(indices, dropped.tolist())

    def _noisy(self, expert: Expert, indices: list[int], noise: Tensor, sigma: Tensor, given: Tensor) -> Noisy:
        patch = expert.patch if self.model.expands_timesteps else None
        noisy = add_noise(self.prepared.batch(indices), noise, sigma, given, patch)
        return noisy.with_given(self.prepared.given_batch(indices))

    def _turn_of_step(self, step: int) -> int:
        """The number of the expert that is trained in a step."""
        return step // SWAP_STEPS % len(self.model.experts)

    def _expert_for(self, level: float) -> Expert:
        """The expert that denoises from this noise level."""
        return next(expert for expert in self.model.experts if expert.within.low <= level <= expert.within.high)

    def _optimizer_steps(self) -> list[int]:
        """Steps of each expert so far."""
        count = len(self.model.experts)
        rounds, rest = divmod(self.steps_done, SWAP_STEPS * count)
        of_last = [min(max(rest - number * SWAP_STEPS, 0), SWAP_STEPS) for number in range(count)]
        return [rounds * SWAP_STEPS + steps for steps in of_last]
