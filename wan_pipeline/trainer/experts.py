"""The transformers that are trained: one, or the two experts of Wan 2.2 A14B, each with factors of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import WanTransformer3DModel
from torch import Tensor

from wan_pipeline.engine.device.placement import CPU, Placement
from wan_pipeline.engine.memory.block_streaming import StreamedModel, outside_on_device
from wan_pipeline.engine.memory.weights import compute_dtype, load_transformer
from wan_pipeline.models.library import InstalledModel
from wan_pipeline.models.reading.inspect import Layout
from wan_pipeline.planning.memory_plan import MemoryPlan, Residency
from wan_pipeline.trainer.average import Average
from wan_pipeline.trainer.factors import Factors
from wan_pipeline.trainer.flow import NoiseRange, Noisy, flow_loss
from wan_pipeline.trainer.memory.plan import TrainingPlan
from wan_pipeline.trainer.memory.recompute import differentiable, recomputed
from wan_pipeline.trainer.memory.stored_inputs import DeviceInputs, HostInputs
from wan_pipeline.trainer.memory.two_way_stream import TwoWayStream
from wan_pipeline.trainer.optimizers import make_optimizer, move_state
from wan_pipeline.trainer.recipe import Recipe
from wan_pipeline.trainer.trainable import HIGH_NOISE, LOW_NOISE, check_trainable


@dataclass(frozen=True)
class Expert:
    """One transformer, its factors, and the noise levels that it is trained on."""

    transformer: Any
    factors: Factors
    optimizer: torch.optim.Optimizer
    within: NoiseRange
    suffix: str = ""
    """Of its LoRA file's name: `high_noise`, `low_noise`, or none."""
    streamed: StreamedModel | None = None
    """The transformer, if its blocks are streamed."""
    average: Average | None = None
    """Of its factors, if the recipe wants their mean in the file."""

    @property
    def is_high_noise(self) -> bool:
        return self.suffix == HIGH_NOISE

    @property
    def names(self) -> list[str]:
        """Of the factors, in the optimizer's order."""
        return [name for name, _ in self.factors.named()]

    def averaged(self) -> AbstractContextManager[None]:
        """Context manager: the factors are what the LoRA's file holds, their mean if there is one."""
        return self.average.applied() if self.average else nullcontext()

    def file_tensors(self) -> dict[str, Tensor]:
        """As they are written to a LoRA file."""
        with self.averaged():
            return self.factors.file_tensors()

    def move(self, device: torch.device) -> None:
        """Move factors, moments and mean to the device."""
        if self.average is not None:
            self.average.move(device)
        for factor in self.factors.parameters():
            factor.data = factor.data.to(device)
        move_state(self.optimizer, device)

    @property
    def patch(self) -> tuple[int, int, int]:
        patch: tuple[int, int, int] = tuple(self.transformer.config.patch_size)
        return patch

    def loss(self, noisy: Noisy, text: Tensor, place: Placement) -> Tensor:
        """The flow loss of a batch, a scalar on the device."""
        on_device = noisy.to(place.device, place.dtype)
        beside = [] if on_device.beside is None else [on_device.beside]
        velocity = self.transformer(
            hidden_states=torch.cat([on_device.latents, *beside], dim=1),
            timestep=on_device.timestep,
            encoder_hidden_states=text.to(place.device, place.dtype),
            encoder_hidden_states_image=on_device.image,
            return_dict=False,
        )[0]
        return flow_loss(velocity, on_device)


@dataclass(frozen=True)
class Trainable:
    """A model as it is trained."""

    experts: Sequence[Expert]
    expands_timesteps: bool
    """Whether it reads a time for every token, and may be given its first frame."""

    @contextmanager
    def training(self, plan: TrainingPlan, device: torch.device) -> Iterator[Turns]:
        """Context manager: gives the turns, in which the transformers compute on the device by the plan."""
        turns = Turns(self.experts, plan, device)
        try:
            yield turns
        finally:
            turns.close()


class Turns:
    """Lets one expert at a time compute. What another one needs on the device is there only during its turn."""

    def __init__(self, experts: Sequence[Expert], plan: TrainingPlan, device: torch.device) -> None:
        self._takes_turns = len(experts) > 1
        self._plan = plan
        self._device = device
        self._stack = ExitStack()
        self._current: Expert | None = None

    def take(self, expert: Expert) -> None:
        """Let this expert compute from now on."""
        if expert is self._current:
            return
        self.close()
        self._current = expert
        expert.move(self._device)
        self._stack.enter_context(
            training(expert.transformer, expert.factors, expert.streamed, self._plan, self._device)
        )

    def close(self) -> None:
        self._stack.close()
        if self._current is not None and self._takes_turns:
            self._current.move(CPU)
        self._current = None


@contextmanager
def training(
    transformer: torch.nn.Module,
    factors: Factors,
    streamed: StreamedModel | None,
    plan: TrainingPlan,
    device: torch.device,
) -> Iterator[TwoWayStream | None]:
    """Context manager: one transformer computes on the device, with its factors, by the plan."""
    with ExitStack() as stack:
        stack.enter_context(factors.applied(transformer))
        stack.enter_context(differentiable(transformer))
        inputs = HostInputs(device) if plan.inputs_on_host else DeviceInputs()
        if streamed is not None:
            stream = TwoWayStream(streamed.blocks, device, plan.buffers)
            stack.callback(stream.close)
            stack.enter_context(outside_on_device([streamed], device))
            blocks = streamed.blocks
            stack.enter_context(recomputed(transformer, inputs, lambda index: stream.on_device(blocks[index])))
            yield stream
        else:
            if plan.recomputes:
                stack.enter_context(recomputed(transformer, inputs))
            yield None


def load_trainable(
    model: InstalledModel, plan: TrainingPlan, recipe: Recipe, place: Placement, cache: Path, generator: torch.Generator
) -> Trainable:
    """Load the transformers by the plan and give them factors. Raises ModelError or StorageError."""
    layout = check_trainable(model)
    memory = MemoryPlan(Residency.STREAMED if plan.buffers else Residency.RESIDENT, plan.precision)
    dtype = torch.bfloat16 if plan.small_factors else torch.float32
    experts = []
    for number, name in enumerate(model.transformers):
        transformer = load_transformer(model, name, WanTransformer3DModel, memory, place, cache / "weights")
        transformer.eval().requires_grad_(False)
        factors = Factors(transformer, recipe.rank, recipe.alpha, generator, CPU, dtype)
        optimizer = make_optimizer(factors.parameters(), recipe, place.device)
        streamed = _streamed(transformer, place) if plan.buffers else None
        average = Average(factors.parameters(), recipe.average) if recipe.average else None
        experts.append(Expert(transformer, factors, optimizer, *_part(layout, number), streamed, average))
    assert compute_dtype(memory, place) == place.dtype  # noqa: S101 - training computes in the placement's dtype
    return Trainable(experts, layout.expand_timesteps)


def _streamed(transformer: torch.nn.Module, place: Placement) -> StreamedModel:
    """The transformer with its blocks in the machine's memory, side by side."""
    streamed = StreamedModel(transformer)
    streamed.move_to_host_memory(pinned=not place.on_cpu)
    return streamed


def _part(layout: Layout, number: int) -> tuple[NoiseRange, str]:
    """The noise levels of an expert, and the end of its file's name."""
    if layout.boundary_ratio is None:
        return NoiseRange(), ""
    if number == 0:
        return NoiseRange(low=layout.boundary_ratio), HIGH_NOISE
    return NoiseRange(high=layout.boundary_ratio), LOW_NOISE
