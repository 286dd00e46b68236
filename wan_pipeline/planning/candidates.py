"""The candidate plans of each stage of a clip, best first, for the planner to choose from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from wan_pipeline.models.precision import Precision
from wan_pipeline.models.spec import ModelSpec
from wan_pipeline.planning.costs import StageCost, decoding_cost, denoising_cost, encoding_cost, text_cost
from wan_pipeline.planning.forecast import deficit, resident_bytes
from wan_pipeline.planning.geometry import Geometry
from wan_pipeline.planning.machine import Machine
from wan_pipeline.planning.memory_plan import MemoryPlan, Residency
from wan_pipeline.planning.transformer import buffer_bytes, chunk_tokens

TILES = (512, 384, 256)
"""Sides in pixels of the decoder's tiles, fastest first."""
TOLERANCE = 1.02
"""Among candidates at most this much slower than the fastest, the one that takes least memory is chosen."""
TEXT_TOLERANCE = 1.3
"""The same for encoding text, which is short."""
VRAM_WEIGHT = 8
"""How much more a byte of the device counts than one of the machine's memory when candidates are compared."""


@dataclass(frozen=True)
class Candidates:
    """Ways to do one stage, as memory plans that differ in that stage's settings alone."""

    groups: list[list[MemoryPlan]]
    """Preferred group first. Within a group only time and memory decide."""
    cost: Callable[[MemoryPlan], StageCost]
    machine: Machine
    """What is free while the stage runs."""
    tolerance: float = TOLERANCE

    def best(self) -> MemoryPlan:
        """The smallest of the nearly fastest that fit, in the first group where any fits; else the least deficit."""
        for group in self.groups:
            costs = [(plan, self.cost(plan)) for plan in group]
            if fitting := [(plan, cost) for plan, cost in costs if not deficit(cost, self.machine)]:
                limit = self.tolerance * min(cost.seconds for _, cost in fitting)
                nearly_fastest = [(plan, cost) for plan, cost in fitting if cost.seconds <= limit]
                return min(nearly_fastest, key=lambda entry: size(entry[1]))[0]
        every = [plan for group in self.groups for plan in group]
        return min(every, key=lambda plan: deficit(self.cost(plan), self.machine))


def size(cost: StageCost) -> float:
    """One number for the memory of a stage."""
    return VRAM_WEIGHT * cost.vram + cost.ram


def stage_candidates(spec: ModelSpec, clip: Geometry, machine: Machine, plan: MemoryPlan) -> list[Candidates]:
    """Candidates of every stage for this plan's residency and precision."""
    facts, resident = spec.memory, resident_bytes(spec.memory, clip, machine, plan)
    beside_model = _beside(machine, resident)
    beside_vae = _beside(machine, resident + 4 * facts.vae_params) if resident else machine
    return [
        Candidates(
            _text(machine, plan),
            lambda candidate: text_cost(facts, machine, candidate.text),
            beside_vae,
            TEXT_TOLERANCE,
        ),
        Candidates(
            _denoising(spec, clip, machine, plan),
            lambda candidate: denoising_cost(spec, clip, machine, candidate),
            machine,
        ),
        Candidates(
            _encoding(clip, plan), lambda candidate: encoding_cost(facts, clip, machine, candidate.encode), beside_model
        ),
        Candidates(
            _decoding(machine, plan), lambda candidate: decoding_cost(facts, clip, machine, candidate), beside_model
        ),
    ]


def leanest(spec: ModelSpec, clip: Geometry, plan: MemoryPlan) -> MemoryPlan:
    """The plan with every stage done in the least device memory."""
    chunk = chunk_tokens(spec.memory, clip.tokens(spec))
    return replace(plan, blocks=0, chunk=chunk, text="streamed", tile=TILES[-1], encode="tiles")


def _beside(machine: Machine, taken: float) -> Machine:
    """A full device is still a device: 0 bytes would mean that the CPU computes."""
    return replace(machine, vram=max(machine.vram - taken, 1.0)) if taken else machine


def _text(machine: Machine, plan: MemoryPlan) -> list[list[MemoryPlan]]:
    return [[replace(plan, text=text) for text in (("device", "streamed", "cpu") if machine.vram else ("cpu",))]]


def _denoising(spec: ModelSpec, clip: Geometry, machine: Machine, plan: MemoryPlan) -> list[list[MemoryPlan]]:
    """Diffusers' own forward before the chunked one, unless its fused operations make that faster; and the machine's
    memory before the disk.

    Streamed blocks always use the chunked forward, so that the bits do not depend on how much memory happens to be
    free.
    """
    facts = spec.memory
    fused = machine.fused and not plan.compiled and plan.precision is not Precision.FP32
    chunked = replace(plan, chunk=chunk_tokens(facts, clip.tokens(spec)), fused=fused)
    if plan.residency is not Residency.STREAMED:
        return [[chunked]] if fused else [[plan], [chunked]]
    left = machine.vram - denoising_cost(spec, clip, machine, chunked).vram
    room = max(0, min(facts.blocks - 1, int(left // buffer_bytes(facts, clip, plan.precision))))
    counts = sorted({0, room, facts.blocks})
    return [[replace(chunked, blocks=blocks, disk=disk) for blocks in counts] for disk in range(facts.experts + 1)]


def _encoding(clip: Geometry, plan: MemoryPlan) -> list[list[MemoryPlan]]:
    return [[plan], [replace(plan, encode="tiles")]] if clip.encodes else [[plan]]


def _decoding(machine: Machine, plan: MemoryPlan) -> list[list[MemoryPlan]]:
    """In fp32, as the authors decode, before bf16."""
    exact = [replace(plan, tile=tile) for tile in (0, *TILES)]
    return [exact, [replace(plan, tile=TILES[-1], vae="bf16")]] if machine.vram else [exact]
