"""The plan of one clip on this machine: what is asked for, what is free now, and what the settings say."""

from __future__ import annotations

from dataclasses import dataclass, replace

from wan_pipeline.models.precision import Precision
from wan_pipeline.models.spec import ModelSpec
from wan_pipeline.planning.costs import GIB, Geometry, Machine
from wan_pipeline.planning.memory_plan import MemoryPlan, Residency, read_plan
from wan_pipeline.planning.planner import Plan, forecast, make_plan, smaller_plan
from wan_pipeline.requests.request import GenerationRequest
from wan_pipeline.settings import Settings

SPARE = 0.04
"""Of what is free on the device: left alone, for other programs' needs go up and down."""


@dataclass(frozen=True)
class Chooser:
    """How this studio chooses plans."""

    settings: Settings

    def choose(
        self, request: GenerationRequest, spec: ModelSpec, machine: Machine, text: str = "", beside: float = 0.0
    ) -> Plan:
        """By the plan of this text, else by that of the settings, else freely. Raises GenerationError.

        `beside` are bytes of the device that LoRAs take.
        """
        wish = Precision(request.quantization) if request.quantization else None
        text, compiled = text or self.settings.plan, self.settings.compiled
        return plan_of(text, spec, geometry(request), self.room(machine, beside), wish, compiled=compiled)

    def smaller(
        self, request: GenerationRequest, spec: ModelSpec, machine: Machine, memory: MemoryPlan
    ) -> MemoryPlan | None:
        """The plan to try after this one has run out of memory; None where there is none that takes less."""
        keeps = request.quantization is not None
        return smaller_plan(spec, geometry(request), self.room(machine), memory, keeps_precision=keeps)

    def room(self, machine: Machine, beside: float = 0.0) -> Machine:
        """The machine as far as this studio may use it. A device that is full stays a device."""
        if not machine.vram:
            return machine
        limit = self.settings.memory_limit * GIB or machine.vram
        return replace(machine, vram=max(min(machine.vram * (1 - SPARE), limit) - beside, 1.0))


def plan_of(
    text: str, spec: ModelSpec, clip: Geometry, machine: Machine, wish: Precision | None, *, compiled: bool = False
) -> Plan:
    """By a whole plan's text, else the best of one kind or of all. Raises GenerationError."""
    if text in set(Residency) or not text:
        return make_plan(spec, clip, machine, wish, Residency(text) if text else None, compiled=compiled)
    return forecast(spec, clip, machine, read_plan(text))


def geometry(request: GenerationRequest) -> Geometry:
    """What of a request the planner looks at."""
    passes = request.num_inference_steps * (2 if request.guidance_scale > 1 else 1)
    encodes = bool(request.image or request.control_video or request.reference_images)
    return Geometry(
        request.width,
        request.height,
        request.num_frames,
        passes,
        encodes=encodes,
        caches=request.first_block_cache > 0,
    )
