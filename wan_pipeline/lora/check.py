"""Does a LoRA fit a model? Asked when a clip is submitted, long before any weights load. No torch."""

from __future__ import annotations

from pathlib import Path

from wan_pipeline.lora.adapter import plan_adapter
from wan_pipeline.models.library import InstalledModel


def check_fits(path: Path, model: InstalledModel) -> None:
    """Raise LoraError if the file is unreadable, unsafe, of a wrong shape, or matches nothing in the model."""
    plan_adapter(path, model)
