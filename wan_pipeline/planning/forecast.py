"""Forecasts a clip's memory and time under a memory plan, and whether it fits the machine."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from wan_pipeline.models.memory import MemoryFacts
from wan_pipeline.models.spec import ModelSpec
from wan_pipeline.planning.costs import (
    StageCost,
    decoding_cost,
    denoising_cost,
    encoding_cost,
    loading_cost,
    text_cost,
)
from wan_pipeline.planning.geometry import Geometry
from wan_pipeline.planning.machine import GIB, Machine
from wan_pipeline.planning.memory_plan import MemoryPlan, Residency
from wan_pipeline.planning.transformer import transformer_bytes
from wan_pipeline.progress import Stage

PROCESS_BYTES = 3.0 * GIB
"""The machine's memory that the process takes beside weights and frames: Python, torch and its libraries."""


@dataclass(frozen=True)
class Forecast:
    """A memory plan, and a clip's memory and time under it. `reason` says why it does not fit and what to change."""

    plan: MemoryPlan
    costs: dict[Stage, StageCost]
    """By stage: encoding text, loading, denoising (with encoding images) and decoding run one after another."""
    blocks: int
    """Blocks of each transformer."""
    reason: str = ""

    @property
    def fits(self) -> bool:
        return not self.reason

    @property
    def peak_vram(self) -> float:
        """Bytes of the device."""
        return max(cost.vram for cost in self.costs.values())

    @property
    def second_vram(self) -> float:
        """Bytes of the second device, which shares the clip; 0 where the plan has one device."""
        return 0.0 if self.plan.devices.is_one else self.costs[Stage.DENOISING].vram

    @property
    def peak_ram(self) -> float:
        """Bytes of the machine's memory."""
        return PROCESS_BYTES + max(cost.ram for cost in self.costs.values())

    @property
    def seconds(self) -> float:
        return sum(cost.seconds for cost in self.costs.values())

    @property
    def is_streamed(self) -> bool:
        return self.plan.residency is Residency.STREAMED

    @property
    def resident_blocks(self) -> int:
        """Blocks of each transformer that stay on the device."""
        return min(self.plan.blocks, self.blocks) if self.is_streamed else self.blocks

    def to_dict(self) -> dict[str, Any]:
        """What `plan --json` prints."""
        plan = self.plan
        return {
            "fits": self.fits,
            "peak_vram_gib": round(self.peak_vram / GIB, 2),
            "peak_ram_gib": round(self.peak_ram / GIB, 2),
            "seconds": round(self.seconds, 1),
            "quantization": plan.precision.value,
            "residency": plan.residency.value,
            "resident_blocks": self.resident_blocks,
            "blocks": self.blocks,
            "streamed": self.is_streamed,
            "chunk_tokens": plan.chunk,
            "text_encoder": plan.text,
            "vae_tile": plan.tile,
            "vae_dtype": plan.vae,
            "experts_on_disk": plan.disk,
            "preview": True,  # by two small matrices, or a decoder in the place of activations: not counted
            "plan": str(plan),
            "branches": plan.branches,
            "split": plan.split,
            "second_vram_gib": round(self.second_vram / GIB, 2),
            "stages": {
                stage.value: {"vram_gib": round(cost.vram / GIB, 2), "seconds": round(cost.seconds, 1)}
                for stage, cost in self.costs.items()
            },
            "reason": self.reason,
        }


def forecast(spec: ModelSpec, clip: Geometry, machine: Machine, plan: MemoryPlan) -> Forecast:
    """The memory and time of the clip under this plan."""
    facts, resident = spec.memory, resident_bytes(spec.memory, clip, machine, plan)
    vae = 4 * facts.vae_params if resident else 0.0
    denoising = denoising_cost(spec, clip, machine, plan)
    if clip.encodes:
        encoding = encoding_cost(facts, clip, machine, plan.encode).beside(resident)
        denoising = _one_after_the_other(encoding, denoising)
    costs = {
        Stage.ENCODING_TEXT: text_cost(facts, machine, plan.text).beside(resident + vae),
        Stage.LOADING: loading_cost(spec, machine, plan),
        Stage.DENOISING: denoising,
        Stage.DECODING: decoding_cost(facts, clip, machine, plan).beside(resident),
    }
    made = Forecast(plan, costs, facts.blocks)
    return replace(made, reason=_reason(made, machine))


def resident_bytes(facts: MemoryFacts, clip: Geometry, machine: Machine, plan: MemoryPlan) -> float:
    """Device memory that a resident model holds, with LoRAs, while other stages compute. The VAE counts in its own."""
    if plan.residency is not Residency.RESIDENT or not machine.vram:
        return 0.0
    return transformer_bytes(facts, plan.precision) + clip.lora_bytes + 4 * facts.image_encoder_params


def deficit(cost: StageCost, machine: Machine) -> float:
    """Bytes that the stage needs beyond what is free; 0 if it fits."""
    return max(cost.vram - machine.vram, 0.0) + max(cost.ram + PROCESS_BYTES - machine.ram, 0.0)


def _one_after_the_other(first: StageCost, second: StageCost) -> StageCost:
    return StageCost(max(first.vram, second.vram), max(first.ram, second.ram), first.seconds + second.seconds)


def _reason(made: Forecast, machine: Machine) -> str:
    """Why it does not fit and what to change; empty if it fits."""
    if made.peak_vram > machine.vram:
        stage = max(made.costs, key=lambda stage: made.costs[stage].vram)
        return (
            f"{stage.capitalize()} needs {made.peak_vram / GIB:.1f} GB of the device's memory, and "
            f"{machine.vram / GIB:.1f} may be used; choose a smaller size or fewer frames, or close other programs."
        )
    if made.peak_ram > machine.ram:
        return (
            f"It needs {made.peak_ram / GIB:.1f} GB of the machine's memory, and {machine.ram / GIB:.1f} are free; "
            "close other programs or choose a smaller model."
        )
    return ""
