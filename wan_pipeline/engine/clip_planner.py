"""Memory plans for the clips of one engine: what is free on its device now, and which plan that allows."""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import replace

from wan_pipeline.engine.device.placement import Placement
from wan_pipeline.engine.device.probe import probe
from wan_pipeline.errors import StorageError
from wan_pipeline.lora.library import LoraLibrary
from wan_pipeline.models.library import InstalledModel
from wan_pipeline.planning.choice import Chooser
from wan_pipeline.planning.costs import Machine
from wan_pipeline.planning.hardware import keep
from wan_pipeline.planning.memory_plan import MemoryPlan
from wan_pipeline.planning.planner import Plan
from wan_pipeline.requests.request import GenerationRequest
from wan_pipeline.settings import Settings

logger = logging.getLogger(__name__)


class ClipPlanner:
    """Probes the device for each clip, saves what it found for the page, and chooses a memory plan."""

    def __init__(self, settings: Settings, loras: LoraLibrary, placement: Placement, *, deterministic: bool) -> None:
        self._settings = settings
        self._loras = loras
        self._placement = placement
        self._deterministic = deterministic
        self._chooser = Chooser(settings)
        self.attention = "native"
        """The fastest attention backend, by its diffusers name; in deterministic mode torch's own."""

    def choose(self, request: GenerationRequest, model: InstalledModel, text: str, held_bytes: int) -> Plan:
        """The fastest plan that fits; or that of a whole plan's or a residency's `text`. Raises GenerationError.

        One that does not fit is returned as well, with its reason, and worth trying: forecasts err on the safe side.
        `held_bytes` of host memory are in use by the loaded model.
        """
        loras = sum(path.stat().st_size for lora in request.loras for path in self._loras.files(lora.name).values())
        chosen = self._chooser.choose(request, model.spec, self.machine(held_bytes), text, loras)
        logger.info("Memory plan: %s (%s)", chosen.memory, chosen.reason or "fits")
        return chosen

    def smaller(
        self, request: GenerationRequest, model: InstalledModel, failed: MemoryPlan, machine: Machine
    ) -> MemoryPlan | None:
        """The plan to try after `failed` ran out of memory; None if no plan takes less."""
        return self._chooser.smaller(request, model.spec, machine, failed)

    def machine(self, held_bytes: int) -> Machine:
        """Free memory, including what this process could release, and the device's speeds. Raises StorageError."""
        hardware = probe(self._placement.device, self._settings.cache)
        hardware = replace(hardware, ram_free=hardware.ram_free + held_bytes, ram_own=held_bytes)
        with suppress(StorageError):  # only the page reads it, and works without
            keep(hardware, self._settings.cache)
        uses_fastest = hardware.speeds is not None and not self._deterministic
        self.attention = hardware.speeds.backend if hardware.speeds and uses_fastest else "native"
        return hardware.machine
