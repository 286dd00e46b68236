"""How a model for sound uses the device's memory: whole on it, or one component at a time."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from wan_pipeline.errors import GenerationError
from wan_pipeline.models.library import InstalledModel
from wan_pipeline.models.reading.configs import components
from wan_pipeline.planning.hardware import Hardware
from wan_pipeline.planning.machine import GIB
from wan_pipeline.planning.memory_plan import Residency
from wan_pipeline.wording import data_size

BASE_BYTES = 0.6e9
"""Of the device's context and libraries, and the transformer's activations, which are small: some thousand tokens."""
BYTES_PER_SECOND = 25e6
"""Of sound, while the VAE decodes it: its widest layers at the full sample rate. A guess on the safe side."""


@dataclass(frozen=True)
class SoundPlan:
    """Where the components are, and the forecast of the device's peak memory in bytes."""

    residency: Residency
    peak_bytes: float

    def __str__(self) -> str:
        return str(self.residency)


def plan_for(model: InstalledModel, seconds: float, hardware: Hardware, limit_gib: float = 0.0) -> SoundPlan:
    """The plan of a sound on this hardware, from the headers of the model's files: 16 bits on an accelerator, 32 on
    the CPU. `limit_gib` of 0 is no limit. Raises ModelError, and GenerationError if it does not fit.
    """
    size = 4.0 if hardware.device == "cpu" else 2.0
    weights = {
        name: size * sum(math.prod(info.shape) for info in model.tensors(name).values())
        for name in components(model.index())
    }
    limit = limit_gib * GIB or math.inf
    return plan_sound(weights, seconds, 0.0 if hardware.device == "cpu" else max(min(hardware.vram_free, limit), 1.0))


def plan_sound(components: Mapping[str, float], seconds: float, free_bytes: float) -> SoundPlan:
    """The quickest plan that fits: resident, else component offload.

    `components` are the bytes of each component's weights on the device. `free_bytes` of 0 is a CPU, where everything
    is resident. Raises GenerationError if not even the largest component fits.
    """
    work = BASE_BYTES + BYTES_PER_SECOND * seconds
    whole, largest = sum(components.values()) + work, max(components.values(), default=0) + work
    if not free_bytes or whole <= free_bytes:
        return SoundPlan(Residency.RESIDENT, whole)
    if largest <= free_bytes:
        return SoundPlan(Residency.OFFLOAD, largest)
    raise GenerationError(
        f"The sound needs about {data_size(largest)} of the device's memory and {data_size(free_bytes)} are free; "
        "make a shorter one, close what else uses the device, or choose a smaller model."
    )
