"""One clip on its way through the engine: what was asked for, and what is ready for denoising."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from wan_pipeline.clips.provenance import Provenance
from wan_pipeline.engine.checkpoint import Checkpoint
from wan_pipeline.engine.decoding.tiny.preview import ClipPreview
from wan_pipeline.engine.device.placement import Placement
from wan_pipeline.engine.early_end import EarlyEnd
from wan_pipeline.engine.loading.loaded import Loaded
from wan_pipeline.engine.lora.experts import Adapters
from wan_pipeline.engine.lora.factor import Factor
from wan_pipeline.engine.stages import Stages
from wan_pipeline.models.library import InstalledModel
from wan_pipeline.planning.memory_plan import MemoryPlan
from wan_pipeline.requests.request import GenerationRequest


@dataclass(frozen=True)
class PlannedClip:
    """One clip to render: what was asked for, and how it is made."""

    request: GenerationRequest
    model: InstalledModel
    plan: MemoryPlan
    stages: Stages
    checkpoint: Path | None
    second: Placement | None = None
    """The second device, if the plan has two."""


@dataclass(frozen=True)
class Prepared:
    """What denoising needs beside the text and the conditioning."""

    loaded: Loaded
    preview: ClipPreview
    adapters: Adapters
    second_adapters: Adapters
    """The same for the second device, if the plan has two; else none."""
    factors: list[Factor]
    """Factors of scheduled adapters, on both devices."""
    provenance: Provenance
    checkpoint: Checkpoint | None
    early: EarlyEnd | None
    """Says when the clip ends before its last step; None: never."""

    @property
    def steps_done(self) -> int:
        """Denoising steps done by an earlier run."""
        state = self.checkpoint.resume_state if self.checkpoint else None
        return state.ended_at or state.step if state else 0

    @property
    def seconds_done(self) -> float:
        """Seconds that an earlier run spent denoising."""
        state = self.checkpoint.resume_state if self.checkpoint else None
        return state.seconds if state else 0.0

    def begin_step(self, step: int) -> None:
        """Set the adapters' factors for a step, counted from 0."""
        for factor in self.factors:
            factor.begin_step(step)

    @property
    def warnings(self) -> tuple[str, ...]:
        of_adapters = (warning for adapter, _ in self.adapters for warning in adapter.warnings)
        of_checkpoint = self.checkpoint.warnings if self.checkpoint else ()
        return (*of_adapters, *of_checkpoint, *self.loaded.warnings, *self.preview.warnings)
