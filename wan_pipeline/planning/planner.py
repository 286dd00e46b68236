"""Chooses a clip's memory plan: the job's own, else that of the settings, else the fastest that fits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from wan_pipeline.errors import LoraError
from wan_pipeline.lora.library import LoraLibrary
from wan_pipeline.models.precision import Precision
from wan_pipeline.models.spec import ModelSpec
from wan_pipeline.planning.attention import AUTO, Attention, sage_speedup
from wan_pipeline.planning.devices import SPLIT_FROM
from wan_pipeline.planning.forecast import Forecast, forecast
from wan_pipeline.planning.geometry import Geometry
from wan_pipeline.planning.int8_errors import layers_beyond, load_errors
from wan_pipeline.planning.machine import GIB, Machine
from wan_pipeline.planning.memory_plan import MemoryPlan, Residency, read_plan
from wan_pipeline.planning.selection import select_plan, select_smaller_plan
from wan_pipeline.progress import Stage
from wan_pipeline.requests.request import GenerationRequest
from wan_pipeline.settings import Settings

SPARE = 0.04
"""Share of the device's memory that is never planned for: other programs' use goes up and down."""


class Planner:
    """Plans clips by the settings of one studio."""

    def __init__(self, settings: Settings, loras: LoraLibrary) -> None:
        self._settings = settings
        self._loras = loras

    def choose(
        self,
        request: GenerationRequest,
        spec: ModelSpec,
        machine: Machine,
        text: str = "",
        *,
        may_split: bool = True,
        exact: tuple[str, ...] | None = None,
    ) -> Forecast:
        """The plan for this clip with its forecast, whether it fits or not.

        `text` is the clip's own plan setting: a residency or a whole plan, before that of the settings. `machine` is
        what is free, of which the spare and what is over the memory limit are left out here. Without `may_split` the
        bits do not depend on whether a second device is free. `exact` are those layers of an int8-compute plan; None
        means what was measured. Raises GenerationError for a text that names no plan.
        """
        text = text or self._settings.plan
        clip, usable = self._geometry(request, spec), self._usable(machine)
        if text and text not in set(Residency):
            return forecast(spec, clip, usable, read_plan(text))
        precision = Precision(request.quantization) if request.quantization else None
        only = Residency(text) if text else None
        attention = self._attention(spec, clip, usable, precision)
        if exact is None:
            exact = self._exact(spec, precision)
        how: dict[str, Any] = {"compiled": self._settings.compiled, "attention": attention, "exact": exact}
        chosen = select_plan(spec, clip, usable, precision, only, **how)
        chosen = replace(chosen, plan=_with_loras(chosen.plan, request))
        can_share = chosen.fits and (may_split or request.guided_steps)
        return (can_share and _shared(chosen, spec, clip, request, usable)) or chosen

    def smaller(
        self, request: GenerationRequest, spec: ModelSpec, machine: Machine, failed: MemoryPlan
    ) -> MemoryPlan | None:
        """The plan to try after `failed` ran out of memory; None if no plan takes less."""
        if not failed.devices.is_one:  # whichever device it was
            return failed.on_one_device()
        clip, keeps_precision = self._geometry(request, spec), request.quantization is not None
        usable = self._usable(machine)
        smaller = select_smaller_plan(spec, clip, usable, failed, keeps_precision=keeps_precision)
        return None if smaller is None else _with_loras(smaller, request)

    def _attention(self, spec: ModelSpec, clip: Geometry, machine: Machine, precision: Precision | None) -> Attention:
        """The backend that the settings name, or the one that was measured quicker at this size."""
        if self._settings.attention != AUTO:
            return Attention(self._settings.attention)
        in_16_bits = machine.vram and precision is not Precision.FP32
        is_quicker = sage_speedup(machine.sage, spec.memory.head_size, clip.tokens(spec)) > 1
        return Attention.SAGE if in_16_bits and is_quicker else Attention.FASTEST

    def _exact(self, spec: ModelSpec, precision: Precision | None) -> tuple[str, ...]:
        """Layers that err too much in int8 by what was measured of the model; none before."""
        if precision is not Precision.INT8_COMPUTE:
            return ()
        return layers_beyond(load_errors(self._settings.cache, spec.id) or {})

    def _usable(self, machine: Machine) -> Machine:
        """The part of the machine that a clip may use."""
        if not machine.vram:
            return machine
        limit = self._settings.memory_limit * GIB
        vram, second = ((1 - SPARE) * min(free, limit or free) for free in (machine.vram, machine.second))
        return replace(machine, vram=max(vram, 1.0), second=second)  # no memory would mean no device

    def _geometry(self, request: GenerationRequest, spec: ModelSpec) -> Geometry:
        """The clip's, with the sizes of its LoRA files. Missing ones count nothing."""
        total = 0
        for lora in request.loras:
            try:
                total += sum(path.stat().st_size for path in self._loras.files(lora.name).values())
            except (LoraError, OSError):  # told when the LoRA is read
                continue
        return replace(Geometry.of(request, spec), lora_bytes=total)


def _shared(
    alone: Forecast, spec: ModelSpec, clip: Geometry, request: GenerationRequest, machine: Machine
) -> Forecast | None:
    """The forecast on two devices, where a second one can share the clip and that is of use.

    They share the passes of guided steps, which leaves the bits as they are, or else the tokens of every pass.
    """
    plan = alone.plan
    is_possible = plan.residency is Residency.RESIDENT and not plan.compiled
    if not machine.second or not is_possible or request.step_cache:  # a cache's state is on one device
        return None
    if not request.guided_steps and not can_split(spec, clip):
        return None
    both = replace(plan, branches=2) if request.guided_steps else replace(plan, split=2)
    shared = forecast(spec, clip, machine, both)
    cost = shared.costs[Stage.DENOISING]
    return shared if shared.fits and (cost.vram or cost.ram) <= machine.second else None


def can_split(spec: ModelSpec, clip: Geometry) -> bool:
    """Whether two devices are quicker than one where each has half of the tokens and of the heads."""
    return clip.tokens(spec) >= SPLIT_FROM and spec.memory.width >= 2 * spec.memory.head_size


def _with_loras(plan: MemoryPlan, request: GenerationRequest) -> MemoryPlan:
    """Merges LoRAs where that is cheaper. Weights that are multiplied in 8 bits cannot be merged into."""
    return replace(plan, lora="merged") if request.loras and not plan.precision.computes_in_8_bits else plan
