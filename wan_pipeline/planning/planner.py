"""Which memory plan a clip is made by: of those that fit, the quickest. Arithmetic alone, no torch and no device."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from wan_pipeline.models.memory import MemoryFacts
from wan_pipeline.models.precision import Precision
from wan_pipeline.models.spec import Mode, ModelSpec
from wan_pipeline.planning.costs import (
    GIB,
    PROCESS,
    REFERENCE,
    Geometry,
    Machine,
    StageCost,
    block_bytes,
    chunk_tokens,
    decoding_cost,
    denoising_cost,
    encoding_cost,
    loading_seconds,
    text_cost,
    tokens,
    transformer_bytes,
)
from wan_pipeline.planning.memory_plan import MemoryPlan, Residency

TILES = (512, 384, 256)
NEARLY = 1.02
"""Of two ways whose times are so close, the one that takes less memory is taken."""
TEXT_NEARLY = 1.3
"""The same for reading the text, which is short."""
SMALLER = 0.8
"""What the next smaller plan may take of what the one before took."""


Choices = list[list[MemoryPlan]]
"""Ways to do a stage: those of one list are as good as one another but for time and memory, and better than the next's.
"""


@dataclass(frozen=True)
class Forecast:
    """By stage: encoding text, loading, denoising, decoding."""

    needs: dict[str, StageCost]

    @property
    def peak_vram(self) -> float:
        """Bytes."""
        return max(need.vram for need in self.needs.values())

    @property
    def ram(self) -> float:
        """Bytes."""
        return PROCESS + max(need.ram for need in self.needs.values())

    @property
    def seconds(self) -> float:
        return sum(need.seconds for need in self.needs.values())


@dataclass(frozen=True)
class Plan:
    """What to do, and what it will take. `reason` says, if it does not fit, what to change."""

    memory: MemoryPlan
    blocks: int
    """Of each transformer."""
    forecast: Forecast
    reason: str = ""

    @property
    def fits(self) -> bool:
        return not self.reason

    @property
    def is_streamed(self) -> bool:
        return self.memory.residency is Residency.STREAMED

    @property
    def resident_blocks(self) -> int:
        return min(self.memory.blocks, self.blocks) if self.is_streamed else self.blocks

    def to_dict(self) -> dict[str, Any]:
        """For `plan --json`."""
        memory, forecast = self.memory, self.forecast
        return {
            "fits": self.fits,
            "peak_vram_gib": round(forecast.peak_vram / GIB, 2),
            "peak_ram_gib": round(forecast.ram / GIB, 2),
            "seconds": round(forecast.seconds, 1),
            "quantization": memory.precision.value,
            "residency": memory.residency.value,
            "resident_blocks": self.resident_blocks,
            "blocks": self.blocks,
            "streamed": self.is_streamed,
            "chunk_tokens": memory.chunk,
            "text_encoder": memory.text,
            "vae_tile": memory.tile,
            "vae_dtype": memory.vae,
            "experts_on_disk": memory.disk,
            "preview": True,  # two small matrices: it takes nothing
            "plan": str(memory),
            "stages": {
                name: {"vram_gib": round(need.vram / GIB, 2), "seconds": round(need.seconds, 1)}
                for name, need in forecast.needs.items()
            },
            "reason": self.reason,
        }


def make_plan(
    spec: ModelSpec,
    clip: Geometry,
    machine: Machine,
    precision: Precision | None = None,
    only: Residency | None = None,
    *,
    compiled: bool = False,
) -> Plan:
    """The quickest plan within the machine's free memory; if none fits, the smallest, which then has a `reason`.

    Without a `precision` it is 16 bits (32 on a CPU) where nothing has to stream for it, else int8. `only` is one kind.
    Decoding exactly comes before staying on the device.
    """
    plans: list[Plan] = []
    for wish, kinds in _wishes(machine, precision):
        tried = [only] if only and machine.vram else kinds
        if only is Residency.OFFLOAD and wish.is_quantized and precision is None:
            break  # accelerate cannot move them
        plans = [_plan(spec, clip, machine, MemoryPlan(kind, wish, compiled=compiled)) for kind in tried]
        if fitting := [plan for plan in plans if plan.fits]:
            exact = [plan for plan in fitting if plan.memory.vae == "fp32"] or fitting
            quickest = min(plan.forecast.seconds for plan in exact)
            return next(plan for plan in exact if plan.forecast.seconds <= NEARLY * quickest)
    return plans[-1]


def forecast(spec: ModelSpec, clip: Geometry, machine: Machine, memory: MemoryPlan) -> Plan:
    """What this plan would take, and whether that fits."""
    facts = spec.memory
    needs = {
        "encoding text": text_cost(facts, machine, memory.text),
        "loading": StageCost(0.0, 0.0, loading_seconds(spec, machine, memory)),
        "denoising": denoising_cost(spec, clip, machine, memory),
        "decoding": decoding_cost(facts, clip, machine, memory),
    }
    staying = _staying(facts, machine, memory)
    if clip.encodes:
        encoding, denoising = encoding_cost(facts, clip, machine, memory.encode), needs["denoising"]
        encoding = replace(encoding, vram=encoding.vram + staying)
        highest = (max(encoding.vram, denoising.vram), max(encoding.ram, denoising.ram))
        needs["denoising"] = StageCost(*highest, encoding.seconds + denoising.seconds)
    beside = {"encoding text": staying and staying + 4 * facts.vae_params, "decoding": staying}
    for stage, there in beside.items():
        needs[stage] = replace(needs[stage], vram=needs[stage].vram + there)
    made = Forecast(needs)
    return Plan(memory, facts.blocks, made, _reason(made, machine))


def smaller_plan(
    spec: ModelSpec, clip: Geometry, machine: Machine, memory: MemoryPlan, *, keeps_precision: bool
) -> MemoryPlan | None:
    """The next one to try when this one ran out of memory: it takes less in some stage, and more in none."""
    failed = forecast(spec, clip, machine, memory)
    vram = min(machine.vram, SMALLER * failed.forecast.peak_vram)
    ram = machine.ram if machine.vram else PROCESS + SMALLER * (failed.forecast.ram - PROCESS)
    less = replace(machine, vram=vram, ram=ram)
    wished = memory.precision if keeps_precision or memory.precision.is_quantized or not machine.vram else None
    for only in (None, Residency.STREAMED):
        found = make_plan(spec, clip, less, wished, only, compiled=memory.compiled).memory
        needs = forecast(spec, clip, machine, found).forecast.needs
        pairs = [(needs[stage], need) for stage, need in failed.forecast.needs.items()]
        if all(_size(new) <= _size(old) for new, old in pairs) and any(_size(new) < _size(old) for new, old in pairs):
            return found
    return None


def least_memory(spec: ModelSpec) -> dict[str, float]:
    """GiB of the device that a clip at the model's own settings takes at least, by each kind of plan at its leanest."""
    size = spec.sizes[0]
    encodes = Mode.TEXT_TO_VIDEO not in spec.modes
    clip = Geometry(size.width, size.height, spec.num_frames, 1, encodes=encodes)
    lean = MemoryPlan(
        chunk=chunk_tokens(spec.memory, tokens(spec, clip)), text="streamed", tile=TILES[-1], encode="tiles"
    )
    kinds = {
        "resident": replace(lean, residency=Residency.RESIDENT),
        "offload": replace(lean, residency=Residency.OFFLOAD),
        "streamed int8": replace(lean, residency=Residency.STREAMED, precision=Precision.INT8),
    }
    plans = {name: forecast(spec, clip, REFERENCE, plan) for name, plan in kinds.items()}
    return {name: round(plan.forecast.peak_vram / GIB, 1) for name, plan in plans.items()}


def scaled(clip: Geometry, share: float, multiple: int) -> Geometry:
    """The same shape with that share of the pixels, on the grid."""
    sides = (max(multiple, int(side * math.sqrt(share)) // multiple * multiple) for side in (clip.width, clip.height))
    width, height = sides
    return replace(clip, width=width, height=height)


def _wishes(machine: Machine, precision: Precision | None) -> list[tuple[Precision, list[Residency]]]:
    if not machine.vram:
        return [(wish, [Residency.RESIDENT]) for wish in ([precision] if precision else [Precision.FP32])]
    whole, streamed = [Residency.RESIDENT, Residency.OFFLOAD], [Residency.RESIDENT, Residency.STREAMED]
    if precision is None:
        return [(Precision.BF16, whole), (Precision.INT8, streamed)]
    return [(precision, streamed if precision.is_quantized else list(Residency))]


def _plan(spec: ModelSpec, clip: Geometry, machine: Machine, memory: MemoryPlan) -> Plan:
    """Each stage's best way in turn: they come one after another, so none is in the other's way."""
    facts = spec.memory
    staying = _staying(facts, machine, memory)
    beside = replace(machine, vram=max(machine.vram - staying, 1.0)) if staying else machine
    stages: Sequence[tuple[Machine, Choices, float, Callable[[MemoryPlan], StageCost]]] = (
        (
            replace(beside, vram=max(beside.vram - 4 * facts.vae_params, 1.0)) if staying else machine,
            _text_ways(machine, memory),
            TEXT_NEARLY,
            lambda way: text_cost(facts, machine, way.text),
        ),
        (
            machine,
            _denoising_ways(spec, clip, machine, memory),
            NEARLY,
            lambda way: denoising_cost(spec, clip, machine, way),
        ),
        (beside, _encoding_ways(clip, memory), NEARLY, lambda way: encoding_cost(facts, clip, machine, way.encode)),
        (beside, _decoding_ways(machine, memory), NEARLY, lambda way: decoding_cost(facts, clip, machine, way)),
    )
    settings: dict[str, Any] = {}
    for room, choices, nearly, need in stages:
        best = _best([[(way, need(way)) for way in ways] for ways in choices], room, nearly)
        settings |= {name: value for name, value in vars(best).items() if value != getattr(memory, name)}
    return forecast(spec, clip, machine, replace(memory, **settings))


def _staying(facts: MemoryFacts, machine: Machine, memory: MemoryPlan) -> float:
    """On the device while others compute there, the VAE left out: it has a stage of its own."""
    if memory.residency is not Residency.RESIDENT or not machine.vram:
        return 0.0
    return transformer_bytes(facts, memory.precision) + 4 * facts.image_encoder_params


def _text_ways(machine: Machine, memory: MemoryPlan) -> Choices:
    return [[replace(memory, text=text) for text in (("device", "streamed", "cpu") if machine.vram else ("cpu",))]]


def _denoising_ways(spec: ModelSpec, clip: Geometry, machine: Machine, memory: MemoryPlan) -> Choices:
    """What streams is always computed in parts, so that its bits do not depend on how much memory happens to be free.

    Elsewhere the libraries' own way is left only for want of room, as is the machine's memory for the disk.
    """
    facts, count = spec.memory, tokens(spec, clip)
    parts = replace(memory, chunk=chunk_tokens(facts, count))
    if memory.residency is not Residency.STREAMED:
        return [[memory], [parts]]
    block = block_bytes(facts, memory.precision)
    taken = denoising_cost(spec, clip, machine, parts).vram
    room = max(0, min(facts.blocks - 1, int((machine.vram - taken) // block)))
    numbers = sorted({0, room, facts.blocks})
    return [[replace(parts, blocks=blocks, disk=disk) for blocks in numbers] for disk in range(facts.experts + 1)]


def _encoding_ways(clip: Geometry, memory: MemoryPlan) -> Choices:
    return [[memory], [replace(memory, encode="tiles")]] if clip.encodes else [[memory]]


def _decoding_ways(machine: Machine, memory: MemoryPlan) -> Choices:
    """In fp32, as the authors do, before bf16."""
    exact = [replace(memory, tile=tile) for tile in (0, *TILES)]
    return [exact, [replace(memory, tile=TILES[-1], vae="bf16")]] if machine.vram else [exact]


def _best(choices: list[list[tuple[MemoryPlan, StageCost]]], machine: Machine, nearly: float) -> MemoryPlan:
    """Of the first choices of which any fits; where none does, the one that lacks least."""
    for ways in choices:
        if fitting := [(way, need) for way, need in ways if _lack(need, machine) == 0]:
            limit = nearly * min(need.seconds for _, need in fitting)
            return min((entry for entry in fitting if entry[1].seconds <= limit), key=lambda entry: _size(entry[1]))[0]
    return min((entry for ways in choices for entry in ways), key=lambda entry: _lack(entry[1], machine))[0]


def _lack(need: StageCost, machine: Machine) -> float:
    return max(need.vram - machine.vram, 0.0) + max(need.ram + PROCESS - machine.ram, 0.0)


def _size(need: StageCost) -> float:
    """To compare two ways by; the device's memory is the scarcer."""
    return 8 * need.vram + need.ram


def _reason(made: Forecast, machine: Machine) -> str:
    stage = max(made.needs, key=lambda name: made.needs[name].vram)
    if made.peak_vram > machine.vram:
        return (
            f"{stage.capitalize()} needs {made.peak_vram / GIB:.1f} GB of the device's memory and "
            f"{machine.vram / GIB:.1f} are free; choose a smaller size or fewer frames, or close other programs."
        )
    if made.ram > machine.ram:
        return (
            f"It needs {made.ram / GIB:.1f} GB of the machine's memory and {machine.ram / GIB:.1f} are free; "
            "close other programs or choose a smaller model."
        )
    return ""
