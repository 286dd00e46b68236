"""Memory plans for the clips of one engine: from what is free on its device now."""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from wan_pipeline.engine.checkpoint import plan_of
from wan_pipeline.engine.device.placement import Placement
from wan_pipeline.engine.device.probe import probe
from wan_pipeline.engine.device.second import free_bytes
from wan_pipeline.errors import StorageError
from wan_pipeline.lora.library import LoraLibrary
from wan_pipeline.models.library import InstalledModel
from wan_pipeline.models.precision import Precision
from wan_pipeline.planning.attention import Attention
from wan_pipeline.planning.forecast import Forecast
from wan_pipeline.planning.hardware import load_hardware, save_hardware
from wan_pipeline.planning.int8_errors import layers_beyond, load_errors
from wan_pipeline.planning.machine import Machine
from wan_pipeline.planning.memory_plan import MemoryPlan
from wan_pipeline.planning.planner import Planner
from wan_pipeline.requests.request import GenerationRequest
from wan_pipeline.settings import Settings
from wan_pipeline.wording import lower_first

logger = logging.getLogger(__name__)


class ClipPlanner:
    """Probes the device before each clip, saves the result for the page, and chooses a memory plan."""

    def __init__(
        self, settings: Settings, loras: LoraLibrary, placement: Placement, *, has_second: bool, deterministic: bool
    ) -> None:
        """`has_second`: there is another device like this one, though a worker of its own may have it now."""
        self._settings = settings
        self._placement = placement
        self._deterministic = deterministic
        self._planner = Planner(settings, loras)
        self._second_free = self._stored_second_free() if has_second else 0
        self.fastest = "native"
        """The fastest exact attention backend, by its diffusers name; torch's own in deterministic mode."""

    def choose(
        self,
        request: GenerationRequest,
        model: InstalledModel,
        text: str,
        held_bytes: int,
        second: Placement | None = None,
        checkpoint: Path | None = None,
    ) -> Forecast:
        """The plan of this text, or the fastest that fits. Raises GenerationError.

        A plan that does not fit is worth trying as well: forecasts err on the safe side. `held_bytes` is the host
        memory of the loaded model. `second` is another device like this one, which is free for the clip. A clip that
        resumes from a `checkpoint` keeps the exact layers that it was begun with.
        """
        machine = self.machine(held_bytes, second)
        if second is not None:
            machine = replace(machine, second=self._second_free)
        in_int8 = request.quantization == Precision.INT8_COMPUTE
        exact, may_split = self._exact(model, checkpoint) if in_int8 else (), not self._deterministic
        chosen = self._planner.choose(request, model.spec, machine, text, may_split=may_split, exact=exact)
        if self._deterministic and chosen.plan.attention:  # its order of backends holds for torch's own alone
            chosen = replace(chosen, plan=replace(chosen.plan, attention=Attention.FASTEST))
        logger.info("Memory plan: %s (%s)", chosen.plan, chosen.reason or "fits")
        return chosen

    def _exact(self, model: InstalledModel, checkpoint: Path | None) -> tuple[str, ...]:
        begun = plan_of(checkpoint)
        if begun is not None and begun.precision is Precision.INT8_COMPUTE:
            return begun.exact
        return layers_beyond(load_errors(self._settings.cache, model.spec.id, model.fingerprint) or {})

    def smaller(
        self, request: GenerationRequest, model: InstalledModel, failed: MemoryPlan, machine: Machine
    ) -> MemoryPlan | None:
        """The plan to try after `failed` ran out of memory; None if no plan takes less."""
        return self._planner.smaller(request, model.spec, machine, failed)

    def machine(self, held_bytes: int, second: Placement | None = None) -> Machine:
        """This worker's share of the free memory, including what it could release itself, and the device's speeds.

        The stored hardware keeps the second device's free memory from when it was last available. Raises StorageError.
        """
        if second is not None:
            self._second_free = free_bytes(second)
        hardware = probe(self._placement.device, self._settings.cache)
        hardware = replace(hardware, ram_free=hardware.ram_free + held_bytes, ram_own=held_bytes)
        hardware = replace(hardware, second_free=self._second_free)
        if not self._settings.slot:  # the page plans for the first device
            with suppress(StorageError):  # and works without
                save_hardware(hardware, self._settings.cache)
        if hardware.speeds is not None and not self._deterministic:
            self.fastest = hardware.speeds.backend
        return hardware.machine_of(len(self._settings.slots))

    def _stored_second_free(self) -> int:
        """Free memory of the second device as it was last stored; 0 if that was of other devices."""
        known = load_hardware(self._settings.cache)
        if known is None or known.name != probe(self._placement.device).name:
            return 0
        return known.second_free


def forecast_warning(forecast: Forecast) -> str:
    """What is told of a clip that was made all the same."""
    return f"The clip was made although its forecast did not fit: {lower_first(forecast.reason)}"
